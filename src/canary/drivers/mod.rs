//! The kinds of drivers, one a file; `open` finds the one that a plan names.

pub mod alb;
pub mod command;
pub mod envoy;
pub mod haproxy;
pub mod httproute;
pub mod local;

use std::path::Path;

use super::driver::Driver;
use super::error::CanaryError;
use super::plan::Plan;

/// Opens the driver that a plan names, and no other: a table of another driver beside it changes nothing. `home` is where the
/// local stack lives.
pub fn open(plan: &Plan, home: &Path) -> Result<Box<dyn Driver>, CanaryError> {
    if let Some(lack) = plan.wiring.lacks(&plan.driver) {
        return Err(CanaryError::Unfit(lack));
    }
    let wiring = &plan.wiring;
    let lost = || CanaryError::Unfit(format!("the driver `{}` cannot be opened; nothing was changed", plan.driver));
    Ok(match plan.driver.as_str() {
        "local" => Box::new(local::Local::new(home).map_err(CanaryError::World)?),
        "command" => Box::new(command::Programs::new(wiring.command.clone().ok_or_else(lost)?)),
        "haproxy" => Box::new(haproxy::Socket::new(wiring.haproxy.clone().ok_or_else(lost)?)),
        "envoy" => {
            let wiring = wiring.envoy.clone().ok_or_else(lost)?;
            Box::new(envoy::Admin::new(wiring).map_err(CanaryError::World)?)
        }
        "alb" => {
            let wiring = wiring.alb.clone().ok_or_else(lost)?;
            Box::new(alb::Rule::new(wiring).map_err(CanaryError::World)?)
        }
        "httproute" => {
            let wiring = wiring.httproute.clone().ok_or_else(lost)?;
            Box::new(httproute::Route::new(wiring).map_err(CanaryError::World)?)
        }
        _ => return Err(lost()),
    })
}
