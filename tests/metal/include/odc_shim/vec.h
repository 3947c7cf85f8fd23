// Vectors of 2 to 4 with Metal's sizes, alignments, constructors, operators and swizzles; packed vectors; as_type.
#pragma once

namespace metal {

template <class T, int N> struct vec;

/// The members of a vector named by a swizzle: lies over the vector's own storage.
template <class T, int N, int... I> struct swizzle {
    T at[N];
    operator vec<T, sizeof...(I)>() const { return vec<T, sizeof...(I)>(at[I]...); }
    swizzle& operator=(vec<T, sizeof...(I)> const& v) {
        int k = 0;
        ((at[I] = v.at[k++]), ...);
        return *this;
    }
};

/// A vector in memory without alignment.
template <class T, int N> struct packed_vec {
    T at[N];
    packed_vec() = default;
    packed_vec(vec<T, N> const& v) {
        for (int k = 0; k < N; k++) at[k] = v.at[k];
    }
    T& operator[](int k) { return at[k]; }
    T operator[](int k) const { return at[k]; }
};

/// What a value is as a vector; scalars have no `type`.
template <class A> struct vector_of { static constexpr bool is = false; };
template <class T, int N> struct vector_of<vec<T, N>> { static constexpr bool is = true; static constexpr int n = N; using element = T; };
template <class T, int N> struct vector_of<packed_vec<T, N>> : vector_of<vec<T, N>> {};
template <class T, int N, int... I> struct vector_of<swizzle<T, N, I...>> : vector_of<vec<T, sizeof...(I)>> {};
template <class A> constexpr bool is_vector = vector_of<A>::is;
template <class A> constexpr bool is_scalar = std::is_arithmetic_v<A> || std::is_same_v<A, half>;

template <class A> auto const& plain(A const& a) { return a; }
template <class T, int N> vec<T, N> plain(packed_vec<T, N> const& a) { return vec<T, N>(a); }
template <class T, int N, int... I> vec<T, sizeof...(I)> plain(swizzle<T, N, I...> const& a) { return a; }

// The members that name two, three or four elements at once.
#define ODC_SHIM_S2(n, a, ai, b, bi) swizzle<T, n, ai, bi> a##b;
#define ODC_SHIM_S3(n, a, ai, b, bi, c, ci) swizzle<T, n, ai, bi, ci> a##b##c;
#define ODC_SHIM_S4(n, a, ai, b, bi, c, ci, d, di) swizzle<T, n, ai, bi, ci, di> a##b##c##d;
// All swizzles of a vector with n members: A goes over the first letter, B over the second, C the third, D the fourth.
#define ODC_SHIM_D2(...) ODC_SHIM_S3(2, __VA_ARGS__) ODC_SHIM_S4(2, __VA_ARGS__, x, 0) ODC_SHIM_S4(2, __VA_ARGS__, y, 1)
#define ODC_SHIM_C2(...) ODC_SHIM_S2(2, __VA_ARGS__) ODC_SHIM_D2(__VA_ARGS__, x, 0) ODC_SHIM_D2(__VA_ARGS__, y, 1)
#define ODC_SHIM_B2(...) ODC_SHIM_C2(__VA_ARGS__, x, 0) ODC_SHIM_C2(__VA_ARGS__, y, 1)
#define ODC_SHIM_A2 ODC_SHIM_B2(x, 0) ODC_SHIM_B2(y, 1)
#define ODC_SHIM_D3(...) ODC_SHIM_S3(3, __VA_ARGS__) ODC_SHIM_S4(3, __VA_ARGS__, x, 0) ODC_SHIM_S4(3, __VA_ARGS__, y, 1) ODC_SHIM_S4(3, __VA_ARGS__, z, 2)
#define ODC_SHIM_C3(...) ODC_SHIM_S2(3, __VA_ARGS__) ODC_SHIM_D3(__VA_ARGS__, x, 0) ODC_SHIM_D3(__VA_ARGS__, y, 1) ODC_SHIM_D3(__VA_ARGS__, z, 2)
#define ODC_SHIM_B3(...) ODC_SHIM_C3(__VA_ARGS__, x, 0) ODC_SHIM_C3(__VA_ARGS__, y, 1) ODC_SHIM_C3(__VA_ARGS__, z, 2)
#define ODC_SHIM_A3 ODC_SHIM_B3(x, 0) ODC_SHIM_B3(y, 1) ODC_SHIM_B3(z, 2)
#define ODC_SHIM_D4(...) ODC_SHIM_S3(4, __VA_ARGS__) ODC_SHIM_S4(4, __VA_ARGS__, x, 0) ODC_SHIM_S4(4, __VA_ARGS__, y, 1) ODC_SHIM_S4(4, __VA_ARGS__, z, 2) ODC_SHIM_S4(4, __VA_ARGS__, w, 3)
#define ODC_SHIM_C4(...) ODC_SHIM_S2(4, __VA_ARGS__) ODC_SHIM_D4(__VA_ARGS__, x, 0) ODC_SHIM_D4(__VA_ARGS__, y, 1) ODC_SHIM_D4(__VA_ARGS__, z, 2) ODC_SHIM_D4(__VA_ARGS__, w, 3)
#define ODC_SHIM_B4(...) ODC_SHIM_C4(__VA_ARGS__, x, 0) ODC_SHIM_C4(__VA_ARGS__, y, 1) ODC_SHIM_C4(__VA_ARGS__, z, 2) ODC_SHIM_C4(__VA_ARGS__, w, 3)
#define ODC_SHIM_A4 ODC_SHIM_B4(x, 0) ODC_SHIM_B4(y, 1) ODC_SHIM_B4(z, 2) ODC_SHIM_B4(w, 3)

template <class T, int N> struct vec_storage;
template <class T> struct alignas(2 * sizeof(T)) vec_storage<T, 2> {
    union {
        T at[2];
        struct { T x, y; };
        ODC_SHIM_A2
    };
};
template <class T> struct alignas(4 * sizeof(T)) vec_storage<T, 3> {
    union {
        T at[3];
        struct { T x, y, z; };
        ODC_SHIM_A3
    };
};
template <class T> struct alignas(4 * sizeof(T)) vec_storage<T, 4> {
    union {
        T at[4];
        struct { T x, y, z, w; };
        ODC_SHIM_A4
    };
};

template <class A> constexpr int width_of() {
    if constexpr (is_vector<A>) return vector_of<A>::n;
    else return 1;
}

template <class T, int N> struct vec : vec_storage<T, N> {
    vec() = default;
    /// One scalar for all elements.
    template <class A, std::enable_if_t<is_scalar<A>, int> = 0> vec(A a) {
        for (int k = 0; k < N; k++) this->at[k] = static_cast<T>(a);
    }
    /// Another element type: only when asked for.
    template <class U, std::enable_if_t<!std::is_same_v<T, U>, int> = 0> explicit vec(vec<U, N> const& v) {
        for (int k = 0; k < N; k++) this->at[k] = static_cast<T>(v.at[k]);
    }
    explicit vec(packed_vec<T, N> const& v) {
        for (int k = 0; k < N; k++) this->at[k] = v.at[k];
    }
    template <class U, std::enable_if_t<!std::is_same_v<T, U>, int> = 0> explicit vec(packed_vec<U, N> const& v) {
        for (int k = 0; k < N; k++) this->at[k] = static_cast<T>(v.at[k]);
    }
    /// Scalars and vectors side by side that fill it exactly.
    template <class A, class B, class... C, std::enable_if_t<((width_of<A>() + width_of<B>()) + ... + width_of<C>()) == N, int> = 0>
    vec(A const& a, B const& b, C const&... c) {
        int k = 0;
        fill(k, a);
        fill(k, b);
        (fill(k, c), ...);
    }
    template <class I> T& operator[](I k) { return this->at[k]; }
    template <class I> T operator[](I k) const { return this->at[k]; }

private:
    template <class A> void fill(int& k, A const& a) {
        if constexpr (is_scalar<A>) {
            this->at[k++] = static_cast<T>(a);
        } else {
            auto const& v = plain(a);
            for (int j = 0; j < width_of<A>(); j++) this->at[k++] = static_cast<T>(v.at[j]);
        }
    }
};

/// `f` of each element; of a scalar, `f` of it.
template <class A, class F> auto map(A const& a, F f) {
    if constexpr (is_scalar<A>) {
        return f(a);
    } else {
        auto const& v = plain(a);
        vec<decltype(f(v.at[0])), width_of<A>()> r;
        for (int k = 0; k < width_of<A>(); k++) r.at[k] = f(v.at[k]);
        return r;
    }
}

template <class A> auto element(A const& a, int k) {
    if constexpr (is_scalar<A>) return a;
    else return plain(a).at[k];
}

/// `f` of each pair of elements; scalars go with every element.
template <class A, class B, class F> auto zip(A const& a, B const& b, F f) {
    if constexpr (is_scalar<A> && is_scalar<B>) {
        return f(a, b);
    } else {
        constexpr int n = is_scalar<A> ? width_of<B>() : width_of<A>();
        static_assert(is_scalar<A> || is_scalar<B> || width_of<A>() == width_of<B>(), "vectors of different widths");
        vec<decltype(f(element(a, 0), element(b, 0))), n> r;
        for (int k = 0; k < n; k++) r.at[k] = f(element(a, k), element(b, k));
        return r;
    }
}

template <class A, class B> using one_is_vector =
    std::enable_if_t<(is_vector<A> && (is_vector<B> || is_scalar<B>)) || (is_vector<B> && is_scalar<A>), int>;
// C++ computes narrow integers as int; a vector keeps its elements' type.
template <class A, class B> using result_element = std::conditional_t<is_vector<A>, vector_of<A>, vector_of<B>>;

#define ODC_SHIM_ARITHMETIC(op)                                                                                \
    template <class A, class B, one_is_vector<A, B> = 0> auto operator op(A const& a, B const& b) {            \
        using T = typename result_element<A, B>::element;                                                      \
        return zip(a, b, [](auto x, auto y) { return static_cast<T>(static_cast<T>(x) op static_cast<T>(y)); }); \
    }                                                                                                          \
    template <class T, int N, class B, std::enable_if_t<is_vector<B> || is_scalar<B>, int> = 0>                \
    vec<T, N>& operator op##=(vec<T, N>& a, B const& b) { return a = a op b; }
ODC_SHIM_ARITHMETIC(+)
ODC_SHIM_ARITHMETIC(-)
ODC_SHIM_ARITHMETIC(*)
ODC_SHIM_ARITHMETIC(/)
ODC_SHIM_ARITHMETIC(%)
ODC_SHIM_ARITHMETIC(&)
ODC_SHIM_ARITHMETIC(|)
ODC_SHIM_ARITHMETIC(^)
ODC_SHIM_ARITHMETIC(<<)
ODC_SHIM_ARITHMETIC(>>)
#undef ODC_SHIM_ARITHMETIC
#define ODC_SHIM_COMPARE(op)                                                                                   \
    template <class A, class B, one_is_vector<A, B> = 0> auto operator op(A const& a, B const& b) {            \
        return zip(a, b, [](auto x, auto y) { return static_cast<bool>(x op y); });                            \
    }
ODC_SHIM_COMPARE(==)
ODC_SHIM_COMPARE(!=)
ODC_SHIM_COMPARE(<)
ODC_SHIM_COMPARE(<=)
ODC_SHIM_COMPARE(>)
ODC_SHIM_COMPARE(>=)
ODC_SHIM_COMPARE(&&)
ODC_SHIM_COMPARE(||)
#undef ODC_SHIM_COMPARE
template <class A, std::enable_if_t<is_vector<A>, int> = 0> auto operator-(A const& a) {
    return map(a, [](auto x) { return static_cast<decltype(x)>(-x); });
}
template <class A, std::enable_if_t<is_vector<A>, int> = 0> auto operator~(A const& a) {
    return map(a, [](auto x) { return static_cast<decltype(x)>(~x); });
}
template <class A, std::enable_if_t<is_vector<A>, int> = 0> auto operator!(A const& a) {
    return map(a, [](auto x) { return !x; });
}

using uchar = unsigned char;
using ushort = unsigned short;
using uint = unsigned int;
using ulong = unsigned long;
#define ODC_SHIM_VECTORS(name, T)                                                                              \
    using name##2 = vec<T, 2>;                                                                                 \
    using name##3 = vec<T, 3>;                                                                                 \
    using name##4 = vec<T, 4>;
ODC_SHIM_VECTORS(bool, bool)
ODC_SHIM_VECTORS(char, signed char)
ODC_SHIM_VECTORS(uchar, uchar)
ODC_SHIM_VECTORS(short, short)
ODC_SHIM_VECTORS(ushort, ushort)
ODC_SHIM_VECTORS(int, int)
ODC_SHIM_VECTORS(uint, uint)
ODC_SHIM_VECTORS(ulong, ulong)
ODC_SHIM_VECTORS(half, half)
ODC_SHIM_VECTORS(float, float)
#undef ODC_SHIM_VECTORS
using packed_char4 = packed_vec<signed char, 4>;
using packed_uchar4 = packed_vec<uchar, 4>;
using packed_float3 = packed_vec<float, 3>;
using packed_half3 = packed_vec<half, 3>;
using packed_int3 = packed_vec<int, 3>;
using packed_uint3 = packed_vec<uint, 3>;
static_assert(sizeof(float4) == 16 && alignof(float4) == 16 && sizeof(float3) == 16 && sizeof(half2) == 4, "Metal's layout");
static_assert(sizeof(packed_float3) == 12 && sizeof(packed_char4) == 4 && sizeof(half4) == 8, "Metal's layout");

/// The same bits as another type of the same size.
template <class T, class A> T as_type(A const& a) {
    auto const& v = plain(a);
    static_assert(sizeof(T) == sizeof(v), "as_type keeps the size");
    T r;
    std::memcpy(static_cast<void*>(&r), &v, sizeof r);
    return r;
}

} // namespace metal
