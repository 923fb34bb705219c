//! Sums over the viewers of a group, from which every mean and its variance follow; a viewer may be added again and again.

/// What one viewer did so far: measured, out of what, and before the experiment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Done {
    pub value: f64,
    pub of: f64,
    pub before: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    pub viewers: f64,
    value: f64,
    of: f64,
    before: f64,
    value_value: f64,
    value_of: f64,
    of_of: f64,
    before_before: f64,
    value_before: f64,
}

/// A mean and the variance of that mean.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mean {
    pub mean: f64,
    pub variance: f64,
}

impl Moments {
    /// Adds (or with -1 takes away) a viewer.
    pub fn add(&mut self, d: &Done, sign: f64) {
        self.viewers += sign;
        self.value += sign * d.value;
        self.of += sign * d.of;
        self.before += sign * d.before;
        self.value_value += sign * d.value * d.value;
        self.value_of += sign * d.value * d.of;
        self.of_of += sign * d.of * d.of;
        self.before_before += sign * d.before * d.before;
        self.value_before += sign * d.value * d.before;
    }

    fn covariance(&self, products: f64, a: f64, b: f64) -> f64 {
        (products - a * b / self.viewers) / (self.viewers - 1.0).max(1.0)
    }

    fn spread(&self) -> f64 {
        self.covariance(self.value_value, self.value, self.value).max(0.0)
    }

    /// Returns the mean over viewers.
    pub fn plain(&self) -> Mean {
        Mean { mean: self.value / self.viewers, variance: self.spread() / self.viewers }
    }

    /// Returns the ratio of the sums; its variance by the delta method, as viewers and not rows are independent.
    pub fn ratio(&self) -> Mean {
        let ratio = self.value / self.of;
        let each = self.spread() - 2.0 * ratio * self.covariance(self.value_of, self.value, self.of)
            + ratio * ratio * self.covariance(self.of_of, self.of, self.of);
        let of = self.of / self.viewers;
        Mean { mean: ratio, variance: each.max(0.0) / (of * of * self.viewers) }
    }
}

/// Returns both means with what the viewers did before taken out of them (CUPED), and the correlation that allowed it.
pub fn cuped(groups: &[Moments; 2]) -> ([Mean; 2], f64) {
    let sum = |of: &dyn Fn(&Moments) -> f64| groups.iter().map(of).sum::<f64>();
    let weighed = |of: &dyn Fn(&Moments) -> f64| groups.iter().map(|g| (g.viewers - 1.0) * of(g)).sum::<f64>();
    let covariance = weighed(&|g| g.covariance(g.value_before, g.value, g.before));
    let before = weighed(&|g| g.covariance(g.before_before, g.before, g.before));
    let value = weighed(&Moments::spread);
    let slope = if before > 0.0 { covariance / before } else { 0.0 };
    let correlation = if before > 0.0 && value > 0.0 { covariance / (before * value).sqrt() } else { 0.0 };
    let all = sum(&|g| g.before) / sum(&|g| g.viewers);
    let means = groups.map(|g| {
        let each = g.spread() - 2.0 * slope * g.covariance(g.value_before, g.value, g.before)
            + slope * slope * g.covariance(g.before_before, g.before, g.before);
        let mean = g.value / g.viewers - slope * (g.before / g.viewers - all);
        Mean { mean, variance: each.max(0.0) / g.viewers }
    });
    (means, correlation)
}
