//! The replicas of a Kubernetes deployment: its scale subresource, by plain HTTP (`kubectl proxy`, or a token and the CA).

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::cost::knob::{Knob, KnobError, Look};
use crate::cost::plan::Cluster;
use crate::serve::aws::cause;

const PATIENCE: Duration = Duration::from_secs(180);
const ANSWER: Duration = Duration::from_secs(10);

pub struct Deployment {
    url: String,
    token: Option<String>,
    client: reqwest::Client,
    runtime: Runtime,
    /// What was asked and does not run yet.
    pending: Option<u64>,
}

impl Deployment {
    /// `place` is `http://127.0.0.1:8001/apis/apps/v1/namespaces/NAMESPACE/deployments/NAME`.
    pub fn open(place: &Cluster) -> Result<Self, KnobError> {
        let unfit = |what: String| KnobError::Unfit(what);
        let read = |path: &Path| {
            std::fs::read_to_string(path).map_err(|e| unfit(format!("{}: cannot be read: {e}", path.display())))
        };
        let mut client = reqwest::Client::builder().timeout(ANSWER);
        if let Some(path) = &place.ca_file {
            let ca = reqwest::Certificate::from_pem(read(path)?.as_bytes());
            client = client.add_root_certificate(ca.map_err(|e| unfit(format!("{}: {e}", path.display())))?);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Ok(Self {
            url: format!("{}/scale", place.deployment.trim_end_matches('/')),
            token: place.token_file.as_deref().map(read).transpose()?.map(|t| t.trim().to_owned()),
            client: client.build().map_err(|e| unfit(e.to_string()))?,
            runtime: runtime.map_err(|e| unfit(e.to_string()))?,
            pending: None,
        })
    }

    fn failed(&self, why: String) -> KnobError {
        KnobError::Failed { what: self.name(), why }
    }

    fn ask(&self, change: Option<&Value>) -> Result<Value, KnobError> {
        let mut request = match change {
            Some(body) => {
                let patch = self.client.patch(&self.url).header("content-type", "application/merge-patch+json");
                patch.body(body.to_string())
            }
            None => self.client.get(&self.url),
        };
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let answer = self.runtime.block_on(async {
            let answer = request.send().await?;
            Ok((answer.status().as_u16(), answer.text().await?))
        });
        let (status, text) = answer.map_err(|e: reqwest::Error| self.failed(cause(&e)))?;
        let answer: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        let said = answer["message"].as_str().map_or_else(|| text.chars().take(120).collect(), str::to_owned);
        match status {
            200..=299 => Ok(answer),
            404 => Err(KnobError::Unfit(format!("{} is not there: {said}", self.url))),
            409 => Err(KnobError::NotNow(format!("somebody else changes it just now ({said})"))),
            _ => Err(self.failed(format!("status {status}: {said}"))),
        }
    }
}

impl Knob for Deployment {
    fn name(&self) -> String {
        let parts: Vec<&str> = self.url.split('/').collect();
        let named = parts.len().checked_sub(2).and_then(|at| parts.get(at)).copied();
        format!("the replicas of {}", named.unwrap_or(&self.url))
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }

    /// What is asked for; after a change of ours what runs, until it is as asked.
    fn read(&mut self) -> Result<u64, KnobError> {
        let answer = self.ask(None)?;
        // A deployment of none leaves the number out.
        let count = |part: &str| answer[part]["replicas"].as_u64().unwrap_or(0);
        if !answer["spec"].is_object() {
            return Err(self.failed(format!("answers no scale: {answer}")));
        }
        let (asked, runs) = (count("spec"), count("status"));
        if self.pending == Some(asked) && runs != asked {
            return Ok(runs);
        }
        self.pending = None;
        Ok(asked)
    }

    fn set(&mut self, _from: u64, to: u64) -> Result<(), KnobError> {
        self.ask(Some(&json!({"spec": {"replicas": to}})))?;
        self.pending = Some(to);
        Ok(())
    }

    fn look(&mut self) -> Result<Look, KnobError> {
        Err(KnobError::Unfit("a deployment counts no requests: name its pages in [meter]".to_owned()))
    }
}
