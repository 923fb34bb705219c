//! A route of the Kubernetes Gateway API: the weights of two backends, changed by a merge patch on the version that was read.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::canary::driver::{Driver, DriverError};
use crate::canary::http::Http;
use crate::canary::wiring::HttpRoute;

const PATIENCE: Duration = Duration::from_secs(5);
/// Somebody else may write the route between our reading and our writing: so often we read it again.
const TRIES: u32 = 5;
const TOTAL: f64 = 1000.0;
const CONFLICT: u16 = 409;

pub struct Route {
    wiring: HttpRoute,
    http: Http,
}

impl Route {
    pub fn new(wiring: HttpRoute) -> Result<Self, String> {
        let http = Http::new(PATIENCE, wiring.authority.as_deref())?;
        Ok(Self { wiring, http })
    }

    fn failed(&self, why: impl Into<String>) -> DriverError {
        DriverError::new(self.name(), why)
    }

    fn ask(&self, method: Method, body: Option<&Value>) -> Result<(u16, String), DriverError> {
        let w = &self.wiring;
        let url = format!(
            "{}/apis/gateway.networking.k8s.io/v1/namespaces/{}/httproutes/{}",
            w.api.trim_end_matches('/'),
            w.namespace,
            w.name
        );
        // Tokens of service accounts are renewed on the disk: read each time.
        let token = w.token_file.as_ref().map(std::fs::read_to_string).transpose();
        let token = token.map_err(|e| self.failed(format!("its token file: {e}")))?;
        let bearer = token.map(|t| format!("Bearer {}", t.trim()));
        let mut headers = vec![("accept", "application/json")];
        headers.extend(bearer.as_deref().map(|b| ("authorization", b)));
        if body.is_some() {
            headers.push(("content-type", "application/merge-patch+json"));
        }
        let body = body.map_or_else(Vec::new, |b| b.to_string().into_bytes());
        let answer = self.http.ask(method, &url, &headers, body).map_err(|why| self.failed(why))?;
        if answer.status == CONFLICT {
            return Ok((CONFLICT, String::new()));
        }
        let status = answer.status;
        answer.good().map(|body| (status, body)).map_err(|why| self.failed(why))
    }

    fn route(&self) -> Result<Value, DriverError> {
        let (_, body) = self.ask(Method::GET, None)?;
        serde_json::from_str(&body).map_err(|e| self.failed(format!("the route is not JSON: {e}")))
    }

    /// Returns where the canary and the baseline stand among the rule's backends.
    fn backends(&self, route: &Value) -> Result<(usize, usize), DriverError> {
        let rule = &route["spec"]["rules"][self.wiring.rule]["backendRefs"];
        let find = |name: &str| {
            let at = rule.as_array().and_then(|all| all.iter().position(|b| b["name"] == name));
            at.ok_or_else(|| self.failed(format!("its rule {} has no backend `{name}`", self.wiring.rule)))
        };
        Ok((find(&self.wiring.canary)?, find(&self.wiring.baseline)?))
    }
}

impl Driver for Route {
    fn name(&self) -> String {
        format!("HTTPRoute {}/{}", self.wiring.namespace, self.wiring.name)
    }

    fn read(&mut self) -> Result<f64, DriverError> {
        let route = self.route()?;
        let (canary, _) = self.backends(&route)?;
        let all = route["spec"]["rules"][self.wiring.rule]["backendRefs"].as_array().cloned().unwrap_or_default();
        // A backend that says nothing weighs 1.
        let weight = |b: &Value| b.get("weight").map_or(Some(1.0), Value::as_f64).unwrap_or(0.0);
        let total: f64 = all.iter().map(weight).sum();
        if total <= 0.0 {
            return Err(self.failed("all weights are 0: nobody is served"));
        }
        Ok(weight(&all[canary]) / total)
    }

    fn set(&mut self, share: f64) -> Result<(), DriverError> {
        for _ in 0..TRIES {
            let route = self.route()?;
            let (canary, baseline) = self.backends(&route)?;
            let mut rules = route["spec"]["rules"].clone();
            let backends = &mut rules[self.wiring.rule]["backendRefs"];
            let weight = (share * TOTAL).round() as u64;
            backends[canary]["weight"] = weight.into();
            backends[baseline]["weight"] = (TOTAL as u64 - weight).into();
            // A merge patch takes a list whole, so it must be of the version that was read.
            let version = route["metadata"]["resourceVersion"].clone();
            let patch = json!({"metadata": {"resourceVersion": version}, "spec": {"rules": rules}});
            if self.ask(Method::PATCH, Some(&patch))?.0 != CONFLICT {
                return Ok(());
            }
        }
        Err(self.failed(format!("somebody else changed the route {TRIES} times while it was being changed")))
    }
}
