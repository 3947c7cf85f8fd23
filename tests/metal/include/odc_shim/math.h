// Metal's common, maths, integer, relational and packing functions, for scalars and vectors.
#pragma once

namespace metal {

/// Float functions of one argument: half goes through float.
#define ODC_SHIM_UNARY(name, expr)                                                                             \
    template <class A> auto name(A const& a) {                                                                 \
        return map(a, [](auto e) {                                                                             \
            static_assert(std::is_same_v<decltype(e), float> || std::is_same_v<decltype(e), half>, #name " takes floats"); \
            float x = e;                                                                                       \
            return static_cast<decltype(e)>(expr);                                                             \
        });                                                                                                    \
    }
ODC_SHIM_UNARY(acos, std::acos(x))
ODC_SHIM_UNARY(acosh, std::acosh(x))
ODC_SHIM_UNARY(asin, std::asin(x))
ODC_SHIM_UNARY(asinh, std::asinh(x))
ODC_SHIM_UNARY(atan, std::atan(x))
ODC_SHIM_UNARY(atanh, std::atanh(x))
ODC_SHIM_UNARY(ceil, std::ceil(x))
ODC_SHIM_UNARY(cos, std::cos(x))
ODC_SHIM_UNARY(cosh, std::cosh(x))
ODC_SHIM_UNARY(exp, std::exp(x))
ODC_SHIM_UNARY(exp2, std::exp2(x))
ODC_SHIM_UNARY(floor, std::floor(x))
ODC_SHIM_UNARY(fract, std::fmin(x - std::floor(x), 0x1.fffffep-1f))
ODC_SHIM_UNARY(log, std::log(x))
ODC_SHIM_UNARY(log2, std::log2(x))
ODC_SHIM_UNARY(rint, std::rint(x))
ODC_SHIM_UNARY(round, std::round(x))
ODC_SHIM_UNARY(rsqrt, 1.0f / std::sqrt(x))
ODC_SHIM_UNARY(saturate, std::fmin(std::fmax(x, 0.0f), 1.0f))
ODC_SHIM_UNARY(sign, x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x == 0.0f ? x : 0.0f)
ODC_SHIM_UNARY(sin, std::sin(x))
ODC_SHIM_UNARY(sinh, std::sinh(x))
ODC_SHIM_UNARY(sqrt, std::sqrt(x))
ODC_SHIM_UNARY(tan, std::tan(x))
ODC_SHIM_UNARY(tanh, std::tanh(x))
ODC_SHIM_UNARY(trunc, std::trunc(x))
#undef ODC_SHIM_UNARY
template <class A> auto isnan(A const& a) { return map(a, [](auto x) { return std::isnan(float(x)); }); }
template <class A> auto isinf(A const& a) { return map(a, [](auto x) { return std::isinf(float(x)); }); }
template <class A> auto isfinite(A const& a) { return map(a, [](auto x) { return std::isfinite(float(x)); }); }

template <class T> T least(T a, T b) {
    if constexpr (std::is_integral_v<T>) return b < a ? b : a;
    else return static_cast<T>(std::fmin(float(a), float(b)));
}
template <class T> T greatest(T a, T b) {
    if constexpr (std::is_integral_v<T>) return a < b ? b : a;
    else return static_cast<T>(std::fmax(float(a), float(b)));
}
/// Two arguments of the first vector's type, or a scalar beside it.
#define ODC_SHIM_BINARY(name, expr)                                                                            \
    template <class A, class B> auto name(A const& a, B const& b) {                                            \
        return zip(a, b, [](auto x, auto y) {                                                                  \
            static_assert(std::is_same_v<decltype(x), decltype(y)>, #name " takes two of a type");             \
            return static_cast<decltype(x)>(expr);                                                             \
        });                                                                                                    \
    }
ODC_SHIM_BINARY(min, least(x, y))
ODC_SHIM_BINARY(max, greatest(x, y))
ODC_SHIM_BINARY(fmin, least(x, y))
ODC_SHIM_BINARY(fmax, greatest(x, y))
ODC_SHIM_BINARY(pow, std::pow(float(x), float(y)))
ODC_SHIM_BINARY(powr, std::pow(float(x), float(y)))
ODC_SHIM_BINARY(fmod, std::fmod(float(x), float(y)))
ODC_SHIM_BINARY(atan2, std::atan2(float(x), float(y)))
ODC_SHIM_BINARY(step, float(y) < float(x) ? 0.0f : 1.0f)
ODC_SHIM_BINARY(copysign, std::copysign(float(x), float(y)))
#undef ODC_SHIM_BINARY
template <class A, class B> auto ldexp(A const& a, B const& b) {
    return zip(a, b, [](auto x, auto y) { return static_cast<decltype(x)>(std::ldexp(float(x), y)); });
}

template <class A> auto abs(A const& a) {
    return map(a, [](auto x) {
        if constexpr (std::is_unsigned_v<decltype(x)>) return x;
        else return static_cast<decltype(x)>(x < decltype(x)(0) || (x == decltype(x)(0) && std::signbit(float(x))) ? -x : x);
    });
}
template <class A, class L, class H> auto clamp(A const& a, L const& lo, H const& hi) { return min(max(a, lo), hi); }
template <class A, class B, class C> auto fma(A const& a, B const& b, C const& c) {
    std::decay_t<decltype(plain(a))> r = plain(a);
    if constexpr (is_scalar<A>) {
        static_assert(std::is_same_v<A, B> && std::is_same_v<A, C>, "fma takes three of a type");
        r = static_cast<A>(std::fma(float(a), float(b), float(c)));
    } else {
        static_assert(width_of<A>() == width_of<B>() && width_of<A>() == width_of<C>(), "vectors of different widths");
        for (int k = 0; k < width_of<A>(); k++) r.at[k] = fma(element(a, k), element(b, k), element(c, k));
    }
    return r;
}
template <class A, class B, class W> auto mix(A const& a, B const& b, W const& w) { return a + (b - a) * w; }
template <class A, class B, class X> auto smoothstep(A const& a, B const& b, X const& x) {
    auto t = saturate((x - a) / (b - a));
    return t * t * (decltype(t)(3) - decltype(t)(2) * t);
}

template <class A, class B, class C> auto select(A const& a, B const& b, C const& c) {
    auto const& p = plain(a);
    std::decay_t<decltype(p)> r = p, q = plain(b);
    if constexpr (is_scalar<A>) {
        r = c ? q : r;
    } else {
        for (int k = 0; k < width_of<A>(); k++) r.at[k] = element(c, k) ? q.at[k] : r.at[k];
    }
    return r;
}
template <class A> bool all(A const& a) {
    bool r = true;
    for (int k = 0; k < width_of<A>(); k++) r = r && element(a, k);
    return r;
}
template <class A> bool any(A const& a) {
    bool r = false;
    for (int k = 0; k < width_of<A>(); k++) r = r || element(a, k);
    return r;
}

template <class A, class B> auto dot(A const& a, B const& b) {
    auto p = a * b;
    auto sum = p.at[0];
    for (int k = 1; k < width_of<decltype(p)>(); k++) sum = sum + p.at[k];
    return sum;
}
template <class A> auto length(A const& a) { return sqrt(dot(a, a)); }
template <class A, class B> auto distance(A const& a, B const& b) { return length(a - b); }
template <class A> auto normalize(A const& a) { return a / length(a); }
template <class A, class B> auto cross(A const& u, B const& v) {
    auto a = plain(u);
    decltype(a) b = plain(v);
    return decltype(a)(a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x);
}

/// Integers: one of 32 bits.
#define ODC_SHIM_BITS(name, expr)                                                                              \
    template <class A> auto name(A const& a) {                                                                 \
        return map(a, [](auto e) {                                                                             \
            static_assert(std::is_integral_v<decltype(e)> && sizeof(e) == 4, #name " takes 32-bit integers here"); \
            uint x = static_cast<uint>(e);                                                                     \
            return static_cast<decltype(e)>(expr);                                                             \
        });                                                                                                    \
    }
inline uint reversed(uint x) {
    uint r = 0;
    for (int k = 0; k < 32; k++) r |= ((x >> k) & 1u) << (31 - k);
    return r;
}
ODC_SHIM_BITS(popcount, __builtin_popcount(x))
ODC_SHIM_BITS(clz, x == 0 ? 32 : __builtin_clz(x))
ODC_SHIM_BITS(ctz, x == 0 ? 32 : __builtin_ctz(x))
ODC_SHIM_BITS(reverse_bits, reversed(x))
#undef ODC_SHIM_BITS
template <class A> auto extract_bits(A const& a, uint offset, uint bits) {
    return map(a, [=](auto x) {
        using T = decltype(x);
        if (bits == 0) return T(0);
        return static_cast<T>(static_cast<T>(static_cast<uint>(x) << (32u - bits - offset)) >> (32u - bits));
    });
}
template <class A, class B> auto insert_bits(A const& base, B const& insert, uint offset, uint bits) {
    return zip(base, insert, [=](auto x, auto y) {
        uint mask = (bits == 32 ? ~0u : (1u << bits) - 1u) << offset;
        return static_cast<decltype(x)>((static_cast<uint>(x) & ~mask) | (bits == 0 ? 0u : (static_cast<uint>(y) << offset) & mask));
    });
}
template <class A, class B> auto mulhi(A const& a, B const& b) {
    return zip(a, b, [](auto x, auto y) {
        using wide = std::conditional_t<std::is_signed_v<decltype(x)>, int64_t, uint64_t>;
        return static_cast<decltype(x)>((static_cast<wide>(x) * static_cast<wide>(y)) >> 32);
    });
}

/// Four or two floats in a word, each scaled to its whole range.
template <int N, class Lane> uint pack_floats(vec<float, N> const& v, float low, float scale) {
    Lane lanes[N];
    for (int k = 0; k < N; k++) lanes[k] = static_cast<Lane>(std::rint(clamp(v.at[k], low, 1.0f) * scale));
    uint r;
    std::memcpy(&r, lanes, 4);
    return r;
}
template <int N, class Lane> vec<float, N> unpack_floats(uint u, float scale) {
    Lane lanes[N];
    std::memcpy(lanes, &u, 4);
    vec<float, N> r;
    for (int k = 0; k < N; k++) r.at[k] = std::fmax(static_cast<float>(lanes[k]) / scale, -1.0f);
    return r;
}
inline uint pack_float_to_unorm4x8(float4 v) { return pack_floats<4, uchar>(v, 0.0f, 255.0f); }
inline uint pack_float_to_snorm4x8(float4 v) { return pack_floats<4, signed char>(v, -1.0f, 127.0f); }
inline uint pack_float_to_unorm2x16(float2 v) { return pack_floats<2, ushort>(v, 0.0f, 65535.0f); }
inline uint pack_float_to_snorm2x16(float2 v) { return pack_floats<2, short>(v, -1.0f, 32767.0f); }
inline float4 unpack_unorm4x8_to_float(uint u) { return unpack_floats<4, uchar>(u, 255.0f); }
inline float4 unpack_snorm4x8_to_float(uint u) { return unpack_floats<4, signed char>(u, 127.0f); }
inline float2 unpack_unorm2x16_to_float(uint u) { return unpack_floats<2, ushort>(u, 65535.0f); }
inline float2 unpack_snorm2x16_to_float(uint u) { return unpack_floats<2, short>(u, 32767.0f); }

} // namespace metal
