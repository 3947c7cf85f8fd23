// `half`: 16-bit storage, each operation in float and rounded back, which is exact for + - * / and sqrt.
#pragma once

namespace metal {

struct half {
    uint16_t bits;

    half() = default;
    half(float x) : bits(from_float(x)) {}
    template <class I, std::enable_if_t<std::is_integral_v<I>, int> = 0>
    half(I x) : bits(from_float(static_cast<float>(x))) {}
    operator float() const { return to_float(bits); }

    /// Round to nearest, ties to even; too large is infinite, NaN stays NaN.
    static uint16_t from_float(float x) {
        uint32_t u;
        std::memcpy(&u, &x, 4);
        uint32_t sign = (u >> 16) & 0x8000u;
        u &= 0x7fffffffu;
        if (u > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);
        if (u >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);
        if (u < 0x38800000u) { // below the smallest normal half: adding 0.5 leaves the rounded mantissa in the low bits
            float magic;
            std::memcpy(&magic, &u, 4);
            magic += 0.5f;
            std::memcpy(&u, &magic, 4);
            return static_cast<uint16_t>(sign | (u - 0x3f000000u));
        }
        u += 0xfffu + ((u >> 13) & 1u);
        return static_cast<uint16_t>(sign | ((u - 0x38000000u) >> 13));
    }

    static float to_float(uint16_t h) {
        uint32_t sign = (h & 0x8000u) << 16, rest = h & 0x7fffu, u;
        float x;
        if (rest >= 0x7c00u) {
            u = 0x7f800000u | ((rest & 0x3ffu) << 13);
        } else if (rest >= 0x400u) {
            u = (rest << 13) + 0x38000000u;
        } else {
            x = static_cast<float>(rest) * 5.9604644775390625e-8f;
            std::memcpy(&u, &x, 4);
        }
        u |= sign;
        std::memcpy(&x, &u, 4);
        return x;
    }

    half operator-() const {
        half r;
        r.bits = bits ^ 0x8000u;
        return r;
    }
};

// half with half is half, half with float is float, as in Metal.
#define ODC_SHIM_HALF(op)                                                                                      \
    inline half operator op(half a, half b) { return half(float(a) op float(b)); }                             \
    inline float operator op(half a, float b) { return float(a) op b; }                                        \
    inline float operator op(float a, half b) { return a op float(b); }                                        \
    inline half& operator op##=(half& a, half b) { return a = half(float(a) op float(b)); }
ODC_SHIM_HALF(+)
ODC_SHIM_HALF(-)
ODC_SHIM_HALF(*)
ODC_SHIM_HALF(/)
#undef ODC_SHIM_HALF
#define ODC_SHIM_HALF(op)                                                                                      \
    inline bool operator op(half a, half b) { return float(a) op float(b); }                                   \
    inline bool operator op(half a, float b) { return float(a) op b; }                                         \
    inline bool operator op(float a, half b) { return a op float(b); }
ODC_SHIM_HALF(==)
ODC_SHIM_HALF(!=)
ODC_SHIM_HALF(<)
ODC_SHIM_HALF(<=)
ODC_SHIM_HALF(>)
ODC_SHIM_HALF(>=)
#undef ODC_SHIM_HALF

} // namespace metal
