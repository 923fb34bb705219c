//! A DynamoDB table's own description: what is provisioned now, whether it is active, how large it is.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{BillingMode, ProvisionedThroughputDescription, TableStatus};

use super::cloudwatch::{explain, shared};
use super::metrics::now;
use crate::watch::error::WatchError;
use crate::watch::sample::{Sample, Signal};
use crate::watch::source::{Answering, Source, Span};

pub struct Table {
    pub region: String,
    pub endpoint: Option<String>,
    pub table: String,
}

impl Table {
    async fn describe(&self) -> Result<Vec<Sample>, WatchError> {
        let client = Client::new(&shared(&self.region, self.endpoint.as_deref()).await?);
        let answer = client.describe_table().table_name(&self.table).send().await;
        let answer = answer.map_err(|e| explain(&e, &self.name(), "dynamodb:DescribeTable", &self.region))?;
        let refused = |why: String| WatchError::Refused { at: self.name(), status: 200, said: why };
        let table = answer.table().ok_or_else(|| refused("no table is in the answer".to_owned()))?;
        match table.table_status() {
            Some(TableStatus::Active | TableStatus::Updating) => {}
            other => {
                return Err(refused(format!("the table is {}", other.map_or("without a state", TableStatus::as_str))));
            }
        }
        let mut sample = Sample::new(now(), format!("description of {}", self.table));
        let on_demand =
            table.billing_mode_summary().and_then(|b| b.billing_mode()) == Some(&BillingMode::PayPerRequest);
        let provisioned =
            table.provisioned_throughput().and_then(ProvisionedThroughputDescription::read_capacity_units);
        if let Some(units) = provisioned.filter(|u| *u > 0 && !on_demand) {
            sample.set(Signal::StoreCapacity, units as f64);
        }
        if let Some(count) = table.item_count() {
            sample.set(Signal::TableItems, count as f64);
        }
        Ok(vec![sample])
    }
}

impl Source for Table {
    fn name(&self) -> String {
        format!("DynamoDB table {} in {}", self.table, self.region)
    }

    fn ask(&self, _span: Span) -> Answering<'_> {
        Box::pin(self.describe())
    }
}
