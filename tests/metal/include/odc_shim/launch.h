// Calls a kernel for every thread of a grid. The driver reads the kernel's arguments from its text and names where each
// one comes from: `launch<kernel, fibers, Buffer<0>, thread_position_in_grid, Threadgroup<0>>(...)`.
#pragma once

namespace odc_shim {

/// What a caller gives: buffers by index, bytes of threadgroup memory by index, threadgroups in the grid, threads in a
/// threadgroup, and the order of threads.
struct Launch {
    void* const* buffers;
    uint32_t const* threadgroup_memory;
    uint32_t threadgroup_memories;
    uint32_t grid[3];
    uint32_t threads[3];
    uint32_t reversed;
};

/// Who a thread is.
struct Ids {
    metal::uint3 group, thread, grid, threads;
    unsigned index;
};

template <class... A> bool failed(char const* format, A... a) {
    std::snprintf(group.error, sizeof group.error, format, static_cast<unsigned>(a)...);
    return false;
}

// Where arguments come from. `State` lives as long as a launch, `get` is called for each thread.
template <int K> struct Buffer {
    template <class A> struct State {
        std::remove_reference_t<A>* at = nullptr;
        bool start(Launch const& l) {
            at = static_cast<std::remove_reference_t<A>*>(l.buffers[K]);
            return at != nullptr || failed("the kernel uses buffer %u, and nothing is bound there", K, 0, 0);
        }
        void clear() {}
        A get(Ids const&) { return *at; }
    };
};
/// Threadgroup memory begins as bytes 0xff: a float that is read before it is written is a NaN. Its size is set, as in
/// Metal, by the caller.
template <int K> struct Threadgroup {
    template <class A> struct State {
        std::remove_reference_t<A> memory;
        bool start(Launch const& l) {
            unsigned set = K < l.threadgroup_memories ? l.threadgroup_memory[K] : 0;
            return set >= sizeof memory || failed("threadgroup memory %u: the kernel needs %u bytes, %u are set", K, sizeof memory, set);
        }
        void clear() { std::memset(static_cast<void*>(&memory), 0xff, sizeof memory); }
        A get(Ids const&) { return memory; }
    };
};
#define ODC_SHIM_ID(name, T, expr)                                                                             \
    struct name {                                                                                              \
        template <class A> struct State {                                                                      \
            static_assert(std::is_same_v<A, T>, #name " has another type in Metal");                           \
            bool start(Launch const&) { return true; }                                                         \
            void clear() {}                                                                                    \
            A get(Ids const& i) { return expr; }                                                               \
        };                                                                                                     \
    };
ODC_SHIM_ID(thread_position_in_grid, metal::uint3, i.group * i.threads + i.thread)
ODC_SHIM_ID(thread_position_in_threadgroup, metal::uint3, i.thread)
ODC_SHIM_ID(thread_index_in_threadgroup, unsigned, i.index)
ODC_SHIM_ID(threadgroup_position_in_grid, metal::uint3, i.group)
ODC_SHIM_ID(threadgroups_per_grid, metal::uint3, i.grid)
ODC_SHIM_ID(dispatch_threads_per_threadgroup, metal::uint3, i.threads)
ODC_SHIM_ID(simdgroups_per_threadgroup, unsigned, (i.threads.x * i.threads.y * i.threads.z + simd_width - 1) / simd_width)
ODC_SHIM_ID(simdgroup_index_in_threadgroup, unsigned, i.index / simd_width)
ODC_SHIM_ID(threads_per_simdgroup, unsigned, (simd_width + i.index * 0))
ODC_SHIM_ID(thread_index_in_simdgroup, unsigned, i.index % simd_width)
#undef ODC_SHIM_ID

template <auto F, bool fibers, class Signature, class... Sources> struct Kernel;
template <auto F, bool fibers, class... Args, class... Sources> struct Kernel<F, fibers, void (*)(Args...), Sources...> {
    static_assert(sizeof...(Args) == sizeof...(Sources), "one source an argument");
    std::tuple<typename Sources::template State<Args>...> states;
    Ids ids;

    void call(unsigned index) {
        ids.index = index;
        ids.thread = metal::uint3(index % ids.threads.x, index / ids.threads.x % ids.threads.y, index / ids.threads.x / ids.threads.y);
        std::apply([&](auto&... s) { F(s.get(ids)...); }, states);
    }
    static void body(void* self, unsigned index) { static_cast<Kernel*>(self)->call(index); }

    char const* run(Launch const& l) {
        bool good = std::apply([&](auto&... s) { return (s.start(l) && ...); }, states);
        if (!good) return group.error;
        unsigned n = l.threads[0] * l.threads[1] * l.threads[2];
        if (n == 0 || n > most_threads) {
            failed("a threadgroup of %u threads; Metal has 1 to %u", n, most_threads);
            return group.error;
        }
        ids.grid = metal::uint3(l.grid[0], l.grid[1], l.grid[2]);
        ids.threads = metal::uint3(l.threads[0], l.threads[1], l.threads[2]);
        group.threads = n;
        if (fibers && group.stacks == nullptr) {
            void* p = mmap(nullptr, most_threads * stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
            if (p == MAP_FAILED) return "no memory for the threads' stacks";
            group.stacks = static_cast<unsigned char*>(p);
        }
        group.body = body;
        group.context = this;
        for (uint32_t z = 0; z < l.grid[2]; z++)
            for (uint32_t y = 0; y < l.grid[1]; y++)
                for (uint32_t x = 0; x < l.grid[0]; x++) {
                    ids.group = metal::uint3(x, y, z);
                    std::apply([](auto&... s) { (s.clear(), ...); }, states);
                    if (fibers) {
                        if (!run_group(l.reversed)) return group.error;
                    } else {
                        for (unsigned k = 0; k < n; k++) call(l.reversed ? n - 1 - k : k);
                    }
                }
        return nullptr;
    }
};

/// Null, or what went wrong.
template <auto F, bool fibers, class... Sources> char const* launch(Launch const* l) {
    static Kernel<F, fibers, decltype(F), Sources...> kernel;
    return kernel.run(*l);
}

} // namespace odc_shim
