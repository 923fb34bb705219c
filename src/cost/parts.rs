//! What a stack is made of besides its requests: storage, machines, watching, transfer; each a line of a bill.

use serde::Serialize;

use super::bill::{Bill, Line, MONTH_H, Market};
use super::prices;

/// Amounts as somebody said them; zero is not there.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Parts {
    /// The table, its kept back-ups, and whether every second of the last weeks is kept too.
    pub storage_gb: f64,
    pub backup_gb: f64,
    pub every_second: bool,
    /// Fargate tasks of so many vCPU and GB.
    pub replicas: f64,
    pub vcpu: f64,
    pub gb: f64,
    /// Machines at a price of the reader's own.
    pub instances: f64,
    pub instance_usd_per_hour: Option<f64>,
    pub objects_gb: f64,
    /// Requests a day.
    pub object_puts: f64,
    pub object_gets: f64,
    /// Read from CloudWatch each minute: what the watching itself costs.
    pub metrics: f64,
    /// GB a day that leave for another region, and which.
    pub transfer_gb: f64,
    pub transfer_to: Option<String>,
    /// Of Personalize, hours and GB in the time of the record.
    pub training_hours: f64,
    pub ingestion_gb: f64,
}

impl Parts {
    /// Adds what a table costs whichever way its requests are paid.
    pub fn table(&self, bill: &mut Bill, market: Market<'_>, hours: f64) {
        let months = hours / MONTH_H;
        let mut add = |item: &str, gb: f64, what: &str| {
            if gb > 0.0 {
                bill.add(market, item, gb * months, what, format!("{gb} GB for {hours:.2} h"), false);
            }
        };
        add("dynamodb.storage-gb-month", self.storage_gb, "table: storage");
        add("dynamodb.backup-gb-month", self.backup_gb, "table: back-ups");
        add("dynamodb.pitr-gb-month", if self.every_second { self.storage_gb } else { 0.0 }, "table: point in time");
    }

    /// Adds what a campaign costs besides its TPS-hours.
    pub fn campaign(&self, bill: &mut Bill, market: Market<'_>) {
        if self.training_hours > 0.0 {
            let how = format!("{} training hours", self.training_hours);
            bill.add(market, "personalize.training-hour", self.training_hours, "training", how, false);
        }
        if self.ingestion_gb > 0.0 {
            let how = format!("{} GB of interactions", self.ingestion_gb);
            bill.add(market, "personalize.ingestion-gb", self.ingestion_gb, "ingestion", how, false);
        }
    }

    /// Returns the bill of everything around the store: machines, objects, watching, transfer; nothing where nothing was said.
    pub fn around(&self, market: Market<'_>, hours: f64) -> Bill {
        let mut bill = Bill::default();
        let (months, days) = (hours / MONTH_H, hours / 24.0);
        let mut add = |item: &str, amount: f64, what: &str, how: String| {
            if amount > 0.0 {
                bill.add(market, item, amount, what, how, false);
            }
        };
        let size = format!("{} x {} vCPU, {} GB for {hours:.2} h", self.replicas, self.vcpu, self.gb);
        add("fargate.vcpu-hour", self.replicas * self.vcpu * hours, "replicas: vCPU", size.clone());
        add("fargate.gb-hour", self.replicas * self.gb * hours, "replicas: memory", size);
        add("s3.gb-month", self.objects_gb * months, "objects: storage", format!("{} GB", self.objects_gb));
        let a_day = |n: f64| format!("{n} a day");
        add("s3.put-request", self.object_puts * days, "objects: writes", a_day(self.object_puts));
        add("s3.get-request", self.object_gets * days, "objects: reads", a_day(self.object_gets));
        let watched = format!("{} metrics a minute", self.metrics);
        add("cloudwatch.metric-read", self.metrics * hours * 60.0, "watching", watched);
        let to = self.transfer_to.as_deref();
        let gone = format!("{} GB a day to {}", self.transfer_gb, to.unwrap_or("another region"));
        let there = to.map(prices::transfer_to).filter(|item| market.prices.one(item, market.region).is_some());
        let item = there.unwrap_or_else(|| prices::TRANSFER.to_owned());
        add(&item, self.transfer_gb * days, "transfer", gone);
        if self.instances > 0.0 {
            let each = self.instance_usd_per_hour;
            bill.lines.push(Line {
                what: "instances".to_owned(),
                item: "instance-hour".to_owned(),
                amount: self.instances * hours,
                usd: each.map(|usd| usd * self.instances * hours),
                guess: false,
                how: each.map_or("no --instance-price was given".to_owned(), |usd| {
                    format!("{} x $ {usd} an hour for {hours:.2} h", self.instances)
                }),
            });
        }
        bill
    }
}
