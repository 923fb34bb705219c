//! Envoy's admin port: two runtime keys that weigh the clusters of a route; lost when Envoy is started again.

use std::time::Duration;

use serde_json::Value;

use crate::canary::driver::{Driver, DriverError};
use crate::canary::http::{Answer, Http};
use crate::canary::split::Counted;
use crate::canary::wiring::Envoy;

const PATIENCE: Duration = Duration::from_secs(2);

pub struct Admin {
    wiring: Envoy,
    http: Http,
}

impl Admin {
    pub fn new(mut wiring: Envoy) -> Result<Self, String> {
        if !wiring.admin.contains("://") {
            wiring.admin = format!("http://{}", wiring.admin);
        }
        while wiring.admin.ends_with('/') {
            wiring.admin.pop();
        }
        Ok(Self { wiring, http: Http::new(PATIENCE, None)? })
    }

    fn failed(&self, why: impl Into<String>) -> DriverError {
        DriverError::new(self.name(), why)
    }

    fn get(&self, path: &str) -> Result<Value, DriverError> {
        let body = self.http.get(&format!("{}{path}", self.wiring.admin), &[]).and_then(Answer::good);
        let body = body.map_err(|why| self.failed(why))?;
        serde_json::from_str(&body).map_err(|e| self.failed(format!("{path} is not JSON: {e}")))
    }

    fn key(&self, cluster: &str) -> String {
        format!("{}.{cluster}", self.wiring.prefix)
    }

    /// Returns the weight in force: the runtime's, else the configuration's own.
    fn weight(&self, runtime: &Value, cluster: &str) -> Result<f64, DriverError> {
        let told = &runtime["entries"][self.key(cluster)]["final_value"];
        if let Some(weight) = told.as_str().and_then(|t| t.parse().ok()).or(told.as_f64()) {
            return Ok(weight);
        }
        let dump = self.get("/config_dump")?;
        let none = || self.failed(format!("neither the runtime nor the configuration weighs the cluster {cluster}"));
        configured(&dump, cluster).ok_or_else(none)
    }
}

/// Finds `{"name": cluster, "weight": n}` anywhere in a dump of the configuration.
fn configured(dump: &Value, cluster: &str) -> Option<f64> {
    match dump {
        Value::Object(fields) => match (fields.get("name"), fields.get("weight").and_then(Value::as_f64)) {
            (Some(name), Some(weight)) if name == cluster => Some(weight),
            _ => fields.values().find_map(|v| configured(v, cluster)),
        },
        Value::Array(all) => all.iter().find_map(|v| configured(v, cluster)),
        _ => None,
    }
}

impl Driver for Admin {
    fn name(&self) -> String {
        format!("Envoy at {}", self.wiring.admin)
    }

    fn read(&mut self) -> Result<f64, DriverError> {
        let runtime = self.get("/runtime")?;
        let canary = self.weight(&runtime, &self.wiring.canary)?;
        let baseline = self.weight(&runtime, &self.wiring.baseline)?;
        if canary + baseline <= 0.0 {
            return Err(self.failed("both weights are 0: nobody is served"));
        }
        Ok(canary / (canary + baseline))
    }

    fn set(&mut self, share: f64) -> Result<(), DriverError> {
        let total = f64::from(self.wiring.total);
        let canary = (share * total).round();
        let (new, old) = (self.key(&self.wiring.canary), self.key(&self.wiring.baseline));
        let url = format!("{}/runtime_modify?{new}={canary}&{old}={}", self.wiring.admin, total - canary);
        self.http.post(&url, &[], Vec::new()).and_then(Answer::good).map(|_| ()).map_err(|why| self.failed(why))
    }

    fn requests(&mut self) -> Result<Option<Counted>, DriverError> {
        let stats = self.get("/stats?format=json&filter=upstream_rq_total$")?;
        let count = |cluster: &str| {
            let name = format!("cluster.{cluster}.upstream_rq_total");
            stats["stats"].as_array()?.iter().find(|s| s["name"] == name.as_str())?["value"].as_f64()
        };
        let both = count(&self.wiring.canary).zip(count(&self.wiring.baseline));
        Ok(both.map(|(canary, baseline)| Counted { canary, all: canary + baseline }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_of_the_configuration_is_found_wherever_it_lies() {
        let dump = serde_json::json!({"configs": [{"x": {"clusters": [
            {"name": "old", "weight": 95}, {"name": "new", "weight": 5}]}}, {"name": "new"}]});
        assert_eq!((configured(&dump, "new"), configured(&dump, "other")), (Some(5.0), None));
    }
}
