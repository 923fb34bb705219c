//! The provisioned TPS of a Personalize campaign: UpdateCampaign, DescribeCampaign, its requests by CloudWatch.

use std::time::Duration;

use serde_json::json;

use super::cloudwatch::Metrics;
use crate::cost::knob::{Knob, KnobError, Look};
use crate::serve::aws::{Aws, AwsError, PERSONALIZE};

/// An update of a campaign takes a quarter of an hour and more.
const PATIENCE: Duration = Duration::from_secs(1_800);

pub struct Campaign {
    aws: Aws,
    arn: String,
    metrics: Metrics,
}

impl Campaign {
    pub fn new(aws: Aws, arn: String) -> Self {
        let metrics = Metrics {
            namespace: "AWS/Personalize",
            dimension: ("CampaignArn", arn.clone()),
            used: "GetRecommendations".to_owned(),
            // Its throttles are among these; a wrong question is too, and is taken for one: rather up than sorry.
            refused: "GetRecommendations4xxErrors".to_owned(),
            ..Metrics::default()
        };
        Self { aws, arn, metrics }
    }

    fn failed(&self, e: &AwsError) -> KnobError {
        KnobError::Failed { what: self.name(), why: e.to_string() }
    }
}

impl Knob for Campaign {
    fn name(&self) -> String {
        format!("minProvisionedTPS of {}", self.arn.rsplit('/').next().unwrap_or(&self.arn))
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }

    fn read(&mut self) -> Result<u64, KnobError> {
        let answer = self.aws.call(&PERSONALIZE, "DescribeCampaign", &json!({"campaignArn": self.arn}));
        let answer = answer.map_err(|e| {
            if e.is("ResourceNotFoundException") {
                KnobError::Unfit(format!("there is no campaign `{}` in {}", self.arn, self.aws.region))
            } else {
                self.failed(&e)
            }
        })?;
        let campaign = &answer["campaign"];
        // While an update is under way the campaign tells its old number; a failed one leaves it so.
        campaign["minProvisionedTPS"].as_u64().ok_or_else(|| {
            let why = format!("DescribeCampaign tells no minProvisionedTPS: {campaign}");
            KnobError::Failed { what: self.name(), why }
        })
    }

    fn set(&mut self, _from: u64, to: u64) -> Result<(), KnobError> {
        let body = json!({"campaignArn": self.arn, "minProvisionedTPS": to});
        match self.aws.call(&PERSONALIZE, "UpdateCampaign", &body) {
            Ok(_) => Ok(()),
            Err(e) if e.is("ResourceInUseException") => {
                Err(KnobError::NotNow(format!("another update of the campaign is under way ({e})")))
            }
            Err(e) => Err(self.failed(&e)),
        }
    }

    fn look(&mut self) -> Result<Look, KnobError> {
        self.metrics.look(&mut self.aws).map_err(|why| KnobError::Failed { what: self.name(), why })
    }
}
