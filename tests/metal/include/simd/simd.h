// Metal has <simd/simd.h>; kernels include it and use nothing of it.
#pragma once
