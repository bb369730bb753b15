//! Named steps at which a test may end the program, as a power failure would.
//!
//! Without the feature `fail_points`, which no release has, nothing of this is compiled. With it the variable `FAILPOINTS`
//! chooses: `FAILPOINTS='commit.sent=17*off->return'` ends the program when that step is reached for the 18th time.

/// Holds the chosen steps until the program ends.
pub struct Scenario {
    #[cfg(feature = "fail_points")]
    _scenario: fail::FailScenario<'static>,
}

impl Scenario {
    /// Reads the steps at which to end from the environment.
    pub fn from_environment() -> Self {
        Self {
            #[cfg(feature = "fail_points")]
            _scenario: fail::FailScenario::setup(),
        }
    }
}

/// Says that a step is reached; at a chosen one the program ends here, without any clean-up.
pub fn reach(_step: &'static str) {
    #[cfg(feature = "fail_points")]
    fail::fail_point!(_step, |_| std::process::abort());
}
