//! Functions that few kernels need, as text: they come behind the kernel in its module.

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Helper {
    /// An integer's power by squaring. Exponents outside 0..2^32 matter only for bases 1 and -1.
    Power,
    /// The exact remainder of f64 by long division of the mantissas, one bit a step.
    Remainder,
}

impl Helper {
    pub const fn text(self) -> &'static str {
        match self {
            Helper::Power => POWER,
            Helper::Remainder => REMAINDER,
        }
    }
}

const POWER: &str = "define internal i64 @odc_power(i64 %x, i64 %y) #0 {
entry:
  %inside = icmp ule i64 %y, 4294967295
  %exponent = select i1 %inside, i64 %y, i64 0
  br label %head
head:
  %product = phi i64 [ 1, %entry ], [ %more, %body ]
  %base = phi i64 [ %x, %entry ], [ %square, %body ]
  %rest = phi i64 [ %exponent, %entry ], [ %half, %body ]
  %any = icmp ne i64 %rest, 0
  br i1 %any, label %body, label %done
body:
  %bit = trunc i64 %rest to i1
  %times = mul i64 %product, %base
  %more = select i1 %bit, i64 %times, i64 %product
  %square = mul i64 %base, %base
  %half = lshr i64 %rest, 1
  br label %head
done:
  %odd = trunc i64 %y to i1
  %sign = select i1 %odd, i64 -1, i64 1
  %minus = icmp eq i64 %x, -1
  %one = icmp eq i64 %x, 1
  %outside0 = select i1 %minus, i64 %sign, i64 0
  %outside = select i1 %one, i64 1, i64 %outside0
  %r = select i1 %inside, i64 %product, i64 %outside
  ret i64 %r
}
";

const REMAINDER: &str = "define internal double @odc_remainder(double %x, double %y) #0 {
entry:
  %ux = bitcast double %x to i64
  %uy = bitcast double %y to i64
  %ax = and i64 %ux, 9223372036854775807
  %ay = and i64 %uy, 9223372036854775807
  %sign = and i64 %ux, -9223372036854775808
  %badx = icmp sge i64 %ax, 9218868437227405312
  %bady = icmp sgt i64 %ay, 9218868437227405312
  %zeroy = icmp eq i64 %ay, 0
  %bad0 = or i1 %badx, %bady
  %bad = or i1 %bad0, %zeroy
  br i1 %bad, label %nan, label %sound
nan:
  ret double 0x7FF8000000000000
sound:
  %less = icmp slt i64 %ax, %ay
  br i1 %less, label %same, label %divide
same:
  ret double %x
divide:
  %ex0 = lshr i64 %ax, 52
  %ey0 = lshr i64 %ay, 52
  %mx0 = and i64 %ax, 4503599627370495
  %my0 = and i64 %ay, 4503599627370495
  %nx = icmp ne i64 %ex0, 0
  %ny = icmp ne i64 %ey0, 0
  %ix = select i1 %nx, i64 4503599627370496, i64 0
  %iy = select i1 %ny, i64 4503599627370496, i64 0
  %mx1 = or i64 %mx0, %ix
  %my1 = or i64 %my0, %iy
  %ex1 = select i1 %nx, i64 %ex0, i64 1
  %ey1 = select i1 %ny, i64 %ey0, i64 1
  %zx = call i64 @llvm.ctlz.i64(i64 %mx1, i1 false)
  %zy = call i64 @llvm.ctlz.i64(i64 %my1, i1 false)
  %sx = add i64 %zx, -11
  %sy = add i64 %zy, -11
  %mx = shl i64 %mx1, %sx
  %my = shl i64 %my1, %sy
  %ex = sub i64 %ex1, %sx
  %ey = sub i64 %ey1, %sy
  %steps = sub i64 %ex, %ey
  %any = icmp sgt i64 %steps, 0
  br i1 %any, label %step, label %end
step:
  %rest = phi i64 [ %mx, %divide ], [ %up, %step ]
  %n = phi i64 [ %steps, %divide ], [ %less1, %step ]
  %over = icmp uge i64 %rest, %my
  %by = select i1 %over, i64 %my, i64 0
  %left = sub i64 %rest, %by
  %up = shl i64 %left, 1
  %less1 = add i64 %n, -1
  %again = icmp sgt i64 %less1, 0
  br i1 %again, label %step, label %end
end:
  %last = phi i64 [ %mx, %divide ], [ %up, %step ]
  %overl = icmp uge i64 %last, %my
  %byl = select i1 %overl, i64 %my, i64 0
  %r = sub i64 %last, %byl
  %none = icmp eq i64 %r, 0
  %zeros = call i64 @llvm.ctlz.i64(i64 %r, i1 false)
  %shift = add i64 %zeros, -11
  %e = sub i64 %ey, %shift
  %shiftok = icmp ult i64 %shift, 64
  %shift1 = select i1 %shiftok, i64 %shift, i64 0
  %norm = shl i64 %r, %shift1
  %mantissa = and i64 %norm, 4503599627370495
  %exponent = shl i64 %e, 52
  %normal = or i64 %mantissa, %exponent
  %down = sub i64 1, %e
  %downok = icmp ult i64 %down, 64
  %down1 = select i1 %downok, i64 %down, i64 0
  %small = lshr i64 %norm, %down1
  %isnormal = icmp sgt i64 %e, 0
  %magnitude0 = select i1 %isnormal, i64 %normal, i64 %small
  %magnitude = select i1 %none, i64 0, i64 %magnitude0
  %bits = or i64 %magnitude, %sign
  %result = bitcast i64 %bits to double
  ret double %result
}
";
