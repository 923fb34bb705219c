//! The distributions behind the p-values: normal, Student's t, chi-squared.

/// Returns the chance that a standard normal lies below `z`.
pub fn normal_below(z: f64) -> f64 {
    0.5 * libm::erfc(-z / std::f64::consts::SQRT_2)
}

/// Returns the `z` below which a standard normal lies with chance `p`, by bisection.
pub fn normal_at(p: f64) -> f64 {
    let (mut low, mut high) = (-40.0, 40.0);
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        if normal_below(middle) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

/// Returns the two-sided p-value of a `t` with `df` degrees of freedom.
pub fn student_p(t: f64, df: f64) -> f64 {
    if df > 1e6 { 2.0 * normal_below(-t.abs()) } else { beta_share(df / 2.0, 0.5, df / (df + t * t)) }
}

/// Returns the `t` beyond which both tails together hold `alpha`.
pub fn student_at(alpha: f64, df: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1e6);
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        if student_p(middle, df) > alpha {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

/// Returns the chance that a chi-squared of one degree of freedom exceeds `x`.
pub fn chi_squared_p(x: f64) -> f64 {
    libm::erfc((x / 2.0).sqrt())
}

/// The regularised incomplete beta function, by its continued fraction (Lentz).
fn beta_share(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - beta_share(b, a, 1.0 - x);
    }
    let front = (libm::lgamma(a + b) - libm::lgamma(a) - libm::lgamma(b) + a * x.ln() + b * (1.0 - x).ln()).exp() / a;
    let away = |v: f64| if v.abs() < 1e-300 { 1e-300 } else { v };
    let (mut c, mut d) = (1.0, 1.0 / away(1.0 - (a + b) * x / (a + 1.0)));
    let mut sum = d;
    for m in 1..2000 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut step = 1.0;
        for term in [even, odd] {
            d = 1.0 / away(1.0 + term * d);
            c = away(1.0 + term / c);
            step = c * d;
            sum *= step;
        }
        if (step - 1.0).abs() < 1e-14 {
            break;
        }
    }
    front * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_tables() {
        let close = |a: f64, b: f64| assert!((a - b).abs() < 2e-4, "{a} {b}");
        close(normal_at(0.975), 1.95996);
        close(student_at(0.05, 5.0), 2.57058);
        close(student_at(0.05, 30.0), 2.04227);
        close(student_p(2.0, 10.0), 0.07339);
        close(student_p(1.96, 1e9), 0.05);
        close(chi_squared_p(3.8415), 0.05);
    }
}
