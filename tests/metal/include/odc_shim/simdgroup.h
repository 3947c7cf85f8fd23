// What the 32 threads of a SIMD-group do together: reductions, scans, votes, shuffles, and 8x8 matrices, of which each
// thread holds two elements. All threads of a SIMD-group must take part; Metal lets inactive ones stay away.
#pragma once

namespace odc_shim {

/// The values that the threads of this SIMD-group brought to one operation.
template <class T> struct Brought {
    unsigned base, count, slot, lane;
    T operator[](unsigned k) const {
        T v;
        std::memcpy(static_cast<void*>(&v), group.fibers[base + k].brought[slot], sizeof v);
        return v;
    }
};

template <class T> Brought<T> bring(T const& v, int line) {
    static_assert(sizeof v <= sizeof(Fiber::brought[0]), "too large for a SIMD operation");
    Fiber& f = group.fibers[group.current];
    unsigned slot = f.operations++ & 1u, lane = group.current % simd_width, base = group.current - lane;
    std::memcpy(f.brought[slot], static_cast<void const*>(&v), sizeof v);
    meet(Meets::simd, line);
    unsigned count = group.threads - base < simd_width ? group.threads - base : simd_width;
    return {base, count, slot, lane};
}

/// Where a thread's two matrix elements are: row, and the first of two columns.
inline unsigned matrix_row(unsigned lane) { return lane / 4; }
inline unsigned matrix_column(unsigned lane) { return lane % 4 * 2; }

} // namespace odc_shim

namespace metal {

#define ODC_SHIM_LINE int line = __builtin_LINE()
#define ODC_SHIM_FOLD(name, join)                                                                              \
    template <class A> auto simd_##name(A const& a, ODC_SHIM_LINE) {                                           \
        auto all = odc_shim::bring(a, line);                                                                   \
        A x = all[0];                                                                                          \
        for (unsigned k = 1; k < all.count; k++) {                                                             \
            A y = all[k];                                                                                      \
            x = join;                                                                                          \
        }                                                                                                      \
        return x;                                                                                              \
    }
ODC_SHIM_FOLD(sum, x + y)
ODC_SHIM_FOLD(product, x* y)
ODC_SHIM_FOLD(max, metal::max(x, y))
ODC_SHIM_FOLD(min, metal::min(x, y))
ODC_SHIM_FOLD(and, x& y)
ODC_SHIM_FOLD(or, x | y)
ODC_SHIM_FOLD(xor, x ^ y)
#undef ODC_SHIM_FOLD
#define ODC_SHIM_SCAN(name, first, op)                                                                         \
    template <class A> A simd_prefix_exclusive_##name(A const& a, ODC_SHIM_LINE) {                             \
        auto all = odc_shim::bring(a, line);                                                                   \
        A x = A(first);                                                                                        \
        for (unsigned k = 0; k < all.lane; k++) x = x op all[k];                                               \
        return x;                                                                                              \
    }                                                                                                          \
    template <class A> A simd_prefix_inclusive_##name(A const& a, ODC_SHIM_LINE) {                             \
        auto all = odc_shim::bring(a, line);                                                                   \
        A x = all[0];                                                                                          \
        for (unsigned k = 1; k <= all.lane; k++) x = x op all[k];                                              \
        return x;                                                                                              \
    }
ODC_SHIM_SCAN(sum, 0, +)
ODC_SHIM_SCAN(product, 1, *)
#undef ODC_SHIM_SCAN

struct simd_vote {
    uint64_t votes;
    explicit operator uint64_t() const { return votes; }
};
inline simd_vote simd_ballot(bool a, ODC_SHIM_LINE) {
    auto every = odc_shim::bring(a, line);
    uint64_t votes = 0;
    for (unsigned k = 0; k < every.count; k++) votes |= static_cast<uint64_t>(every[k]) << k;
    return {votes};
}
inline bool simd_any(bool a, ODC_SHIM_LINE) { return simd_ballot(a, line).votes != 0; }
inline bool simd_all(bool a, ODC_SHIM_LINE) { return simd_ballot(!a, line).votes == 0; }

/// A lane that is not there gives an undefined value in Metal; here the thread's own.
template <class A> A simd_take(A const& a, unsigned from, int line) {
    auto all = odc_shim::bring(a, line);
    return from < all.count ? all[from] : a;
}
template <class A> A simd_broadcast(A const& a, ushort lane, ODC_SHIM_LINE) { return simd_take(a, lane, line); }
template <class A> A simd_broadcast_first(A const& a, ODC_SHIM_LINE) { return simd_take(a, 0, line); }
template <class A> A simd_shuffle(A const& a, ushort lane, ODC_SHIM_LINE) { return simd_take(a, lane, line); }
inline unsigned simd_lane() { return odc_shim::group.current % odc_shim::simd_width; }
template <class A> A simd_shuffle_xor(A const& a, ushort mask, ODC_SHIM_LINE) { return simd_take(a, simd_lane() ^ mask, line); }
template <class A> A simd_shuffle_up(A const& a, ushort by, ODC_SHIM_LINE) { return simd_take(a, simd_lane() - by, line); }
template <class A> A simd_shuffle_down(A const& a, ushort by, ODC_SHIM_LINE) { return simd_take(a, simd_lane() + by, line); }
template <class A> A quad_broadcast(A const& a, ushort lane, ODC_SHIM_LINE) { return simd_take(a, (simd_lane() & ~3u) + lane, line); }
template <class A> A quad_shuffle_xor(A const& a, ushort mask, ODC_SHIM_LINE) { return simd_take(a, simd_lane() ^ mask, line); }

/// 8x8 only, of float or half: there is no other in Metal.
template <class T> struct simdgroup_matrix {
    T at[2];
};
using simdgroup_float8x8 = simdgroup_matrix<float>;
using simdgroup_half8x8 = simdgroup_matrix<half>;

/// Where element (row, column) of a matrix in memory is.
inline size_t matrix_at(ulong stride, ulong2 origin, bool transpose, size_t row, size_t column) {
    return transpose ? (origin.y + column) * stride + origin.x + row : (origin.y + row) * stride + origin.x + column;
}
template <class T>
void simdgroup_load(simdgroup_matrix<T>& m, T const* from, ulong stride = 8, ulong2 origin = 0, bool transpose = false, ODC_SHIM_LINE) {
    auto all = odc_shim::bring(0, line);
    size_t row = odc_shim::matrix_row(all.lane), column = odc_shim::matrix_column(all.lane);
    for (size_t k = 0; k < 2; k++) m.at[k] = from[matrix_at(stride, origin, transpose, row, column + k)];
    odc_shim::meet(odc_shim::Meets::simd, line); // nobody goes on and writes before all have read
}
template <class T>
void simdgroup_store(simdgroup_matrix<T> m, T* to, ulong stride = 8, ulong2 origin = 0, bool transpose = false, ODC_SHIM_LINE) {
    auto all = odc_shim::bring(0, line);
    size_t row = odc_shim::matrix_row(all.lane), column = odc_shim::matrix_column(all.lane);
    for (size_t k = 0; k < 2; k++) to[matrix_at(stride, origin, transpose, row, column + k)] = m.at[k];
    odc_shim::meet(odc_shim::Meets::simd, line);
}
/// d = a * b + c, in the accumulator's type.
template <class T, class S>
void simdgroup_multiply_accumulate(simdgroup_matrix<T>& d, simdgroup_matrix<S> a, simdgroup_matrix<S> b, simdgroup_matrix<T> c,
                                   ODC_SHIM_LINE) {
    struct Both { S a[2], b[2]; };
    auto all = odc_shim::bring(Both{{a.at[0], a.at[1]}, {b.at[0], b.at[1]}}, line);
    unsigned row = odc_shim::matrix_row(all.lane), column = odc_shim::matrix_column(all.lane);
    simdgroup_matrix<T> r = c;
    for (unsigned k = 0; k < 8; k++) {
        Both left = all[row * 4 + k / 2], right = all[k * 4 + column / 2];
        for (unsigned j = 0; j < 2; j++)
            r.at[j] = static_cast<T>(std::fma(float(left.a[k % 2]), float(right.b[j]), float(r.at[j])));
    }
    d = r;
}
#undef ODC_SHIM_LINE

} // namespace metal
