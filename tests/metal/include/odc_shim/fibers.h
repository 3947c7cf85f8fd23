// A threadgroup on one host thread: a fiber for each of its threads, run one after another from one meeting point to the
// next. A meeting point is a threadgroup barrier (all threads) or a SIMD operation (the 32 threads of a SIMD-group).
// Threads that do not all come to the same one are an error with a text, not a hang.
#pragma once

namespace metal {
enum class mem_flags { mem_none, mem_device, mem_threadgroup, mem_texture };
}

namespace odc_shim {

constexpr unsigned simd_width = 32, most_threads = 1024;
constexpr size_t stack_bytes = 256 * 1024;

enum class Meets { ready, barrier, simd, done };

struct Fiber {
    ucontext_t start;
    jmp_buf at;
    bool started;
    Meets meets;
    int line;
    /// What the thread brings to a SIMD operation; two, because the next one may begin before all have read this one.
    alignas(16) unsigned char brought[2][64];
    unsigned operations;
};

/// The threadgroup that runs now. One launch at a time a library: the caller holds a lock.
struct Group {
    Fiber fibers[most_threads];
    unsigned char* stacks;
    unsigned threads, current;
    void (*body)(void* context, unsigned thread);
    void* context;
    jmp_buf scheduler;
    ucontext_t origin;
    char error[400];
};
static Group group;

/// Back to the scheduler until it lets this thread go on.
__attribute__((noinline)) static void meet(Meets what, int line) {
    Fiber& f = group.fibers[group.current];
    f.meets = what;
    f.line = line;
    if (!_setjmp(f.at)) _longjmp(group.scheduler, 1);
}

static void fiber_main() {
    for (;;) { // a fiber serves one thread of each threadgroup
        group.body(group.context, group.current);
        meet(Meets::done, 0);
    }
}

__attribute__((noinline)) static void resume(unsigned thread) {
    Fiber& f = group.fibers[thread];
    group.current = thread;
    if (_setjmp(group.scheduler)) return;
    if (f.started) _longjmp(f.at, 1);
    f.started = true;
    getcontext(&f.start);
    f.start.uc_stack.ss_sp = group.stacks + size_t(thread) * stack_bytes;
    f.start.uc_stack.ss_size = stack_bytes;
    f.start.uc_link = nullptr;
    makecontext(&f.start, fiber_main, 0);
    setcontext(&f.start);
}

inline char const* name(Meets m) {
    return m == Meets::barrier ? "at a threadgroup barrier" : m == Meets::simd ? "at a SIMD operation" : "returned";
}

/// Says which two threads parted; all fibers begin anew, since some are in the midst of a kernel.
static bool diverged(char const* what, unsigned a, unsigned b) {
    Fiber const &x = group.fibers[a], &y = group.fibers[b];
    std::snprintf(group.error, sizeof group.error, "divergent %s: thread %u is %s (line %d), thread %u is %s (line %d)", what, a,
                  name(x.meets), x.line, b, name(y.meets), y.line);
    for (Fiber& f : group.fibers) f.started = false;
    return false;
}

/// Runs one threadgroup; false with `group.error` set where its threads part.
static bool run_group(bool reversed) {
    unsigned n = group.threads;
    for (unsigned t = 0; t < n; t++) group.fibers[t].meets = Meets::ready;
    for (;;) {
        for (unsigned k = 0; k < n; k++) {
            unsigned t = reversed ? n - 1 - k : k;
            if (group.fibers[t].meets == Meets::ready) resume(t);
        }
        bool released = false;
        for (unsigned base = 0; base < n; base += simd_width) {
            unsigned end = base + simd_width < n ? base + simd_width : n, simd = n;
            for (unsigned t = base; t < end; t++) simd = group.fibers[t].meets == Meets::simd ? t : simd;
            if (simd == n) continue;
            for (unsigned t = base; t < end; t++) {
                Fiber const& f = group.fibers[t];
                if (f.meets != Meets::simd || f.line != group.fibers[simd].line) return diverged("SIMD operation", simd, t);
            }
            for (unsigned t = base; t < end; t++) group.fibers[t].meets = Meets::ready;
            released = true;
        }
        if (released) continue;
        if (group.fibers[0].meets == Meets::done) {
            for (unsigned t = 1; t < n; t++)
                if (group.fibers[t].meets != Meets::done) return diverged("threadgroup barrier", t, 0);
            return true;
        }
        for (unsigned t = 1; t < n; t++)
            if (group.fibers[t].meets != Meets::barrier || group.fibers[t].line != group.fibers[0].line)
                return diverged("threadgroup barrier", 0, t);
        for (unsigned t = 0; t < n; t++) group.fibers[t].meets = Meets::ready;
    }
}

} // namespace odc_shim

namespace metal {
inline void threadgroup_barrier(mem_flags, int line = __builtin_LINE()) { odc_shim::meet(odc_shim::Meets::barrier, line); }
inline void simdgroup_barrier(mem_flags, int line = __builtin_LINE()) { odc_shim::meet(odc_shim::Meets::simd, line); }
} // namespace metal
