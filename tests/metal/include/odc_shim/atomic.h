// Atomics. All threads of a launch run on one host thread, so plain memory operations are atomic.
#pragma once

namespace metal {

enum memory_order { memory_order_relaxed };

template <class T> struct atomic {
    T value;
};
using atomic_int = atomic<int>;
using atomic_uint = atomic<uint>;
using atomic_float = atomic<float>;

template <class T> T atomic_load_explicit(atomic<T> const* a, memory_order) { return a->value; }
template <class T> void atomic_store_explicit(atomic<T>* a, T x, memory_order) { a->value = x; }

#define ODC_SHIM_ATOMIC(name, expr)                                                                            \
    template <class T> T atomic_##name##_explicit(atomic<T>* a, T x, memory_order) {                           \
        T old = a->value;                                                                                      \
        a->value = static_cast<T>(expr);                                                                       \
        return old;                                                                                            \
    }
ODC_SHIM_ATOMIC(exchange, x)
ODC_SHIM_ATOMIC(fetch_add, old + x)
ODC_SHIM_ATOMIC(fetch_sub, old - x)
ODC_SHIM_ATOMIC(fetch_and, old & x)
ODC_SHIM_ATOMIC(fetch_or, old | x)
ODC_SHIM_ATOMIC(fetch_xor, old ^ x)
ODC_SHIM_ATOMIC(fetch_min, x < old ? x : old)
ODC_SHIM_ATOMIC(fetch_max, old < x ? x : old)
#undef ODC_SHIM_ATOMIC

} // namespace metal
