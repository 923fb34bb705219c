//! DynamoDB, or a server that speaks like it: the calls that lists need, each tried once, and what their failures mean.

use std::collections::HashMap;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, ConditionCheck, ConsumedCapacity, KeySchemaElement, KeyType,
    KeysAndAttributes, ProvisionedThroughput, ProvisionedThroughputDescription, Put as PutAction, PutRequest,
    ReturnConsumedCapacity, ScalarAttributeType, Select, TableStatus, TimeToLiveSpecification, TransactWriteItem,
    WriteRequest,
};

use super::table::{CURRENT, EXPIRES, Kept, Pointer, Progress, Put, VALUE, list_key, meta, meta_key, meta_pieces};
use crate::serve::error::ServeError;
use crate::serve::store::Meta;

/// Where a reading of the whole table goes on.
pub type Place = HashMap<String, AttributeValue>;

/// A part of the table, counted.
pub struct Counted {
    pub lists: u64,
    pub units: f64,
    pub next: Option<Place>,
}

/// Who publishes, and until when (Unix milliseconds) nobody else may.
const OWNER: &str = "o";
const UNTIL: &str = "u";
/// How long a table may take to be made.
const MAKING: Duration = Duration::from_secs(60);

/// Why a call failed, as far as it decides what to do next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Over the capacity: later.
    #[error("throttled: {0}")]
    Throttled(String),
    /// Not reached, slow, or broken on the other side: later, perhaps.
    #[error("{0}")]
    Busy(String),
    /// Somebody else publishes.
    #[error("another publish has taken over")]
    Taken,
    #[error("{0}")]
    Refused(String),
}

impl Fault {
    pub fn passes(&self) -> bool {
        matches!(self, Self::Throttled(_) | Self::Busy(_))
    }
}

fn fault<E>(error: SdkError<E>) -> Fault
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let code = error.code().unwrap_or_default().to_owned();
    let told = || match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        _ => cause(&error),
    };
    match code.as_str() {
        "ProvisionedThroughputExceededException" | "ThrottlingException" | "RequestLimitExceeded" => {
            Fault::Throttled(told())
        }
        "ConditionalCheckFailedException" | "TransactionCanceledException" => Fault::Taken,
        "InternalServerError" | "ServiceUnavailable" | "TransactionConflictException" => Fault::Busy(told()),
        "" => Fault::Busy(told()),
        _ => Fault::Refused(told()),
    }
}

/// The innermost reason, or all of it where there is none.
fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut inner = error;
    while let Some(next) = inner.source() {
        inner = next;
    }
    let text = inner.to_string();
    if text.is_empty() { DisplayErrorContext(error).to_string() } else { text }
}

/// A table that was found, and how its key is called.
#[derive(Clone, Debug)]
pub struct Table {
    client: Client,
    pub name: String,
    pub key: String,
    /// Units a second that are provisioned; `None` on demand.
    pub write_units: Option<f64>,
    pub read_units: Option<f64>,
}

/// How a table is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach<'a> {
    pub table: &'a str,
    pub endpoint: Option<&'a str>,
    /// The longest that one call may take.
    pub patience: Duration,
}

async fn client(reach: &Reach<'_>) -> Client {
    let times = TimeoutConfig::builder()
        .connect_timeout(reach.patience.min(Duration::from_secs(3)))
        .operation_attempt_timeout(reach.patience)
        .build();
    let mut config =
        aws_config::defaults(BehaviorVersion::latest()).retry_config(RetryConfig::disabled()).timeout_config(times);
    let set = |name: &str| std::env::var(name).is_ok_and(|v| !v.is_empty());
    if let Some(endpoint) = reach.endpoint {
        config = config.endpoint_url(endpoint);
        // A server on this machine knows no accounts.
        if is_local(endpoint) && !set("AWS_ACCESS_KEY_ID") && !set("AWS_PROFILE") {
            config = config.credentials_provider(Credentials::new("local", "local", None, None, "serin"));
            config = config.region(Region::new("local"));
        }
    }
    Client::new(&config.load().await)
}

fn is_local(endpoint: &str) -> bool {
    let host = endpoint.split("://").nth(1).unwrap_or(endpoint);
    ["127.", "localhost", "[::1]"].iter().any(|own| host.starts_with(own))
}

impl Table {
    /// Finds the table and what its key is called.
    pub async fn open(reach: &Reach<'_>) -> Result<Self, ServeError> {
        let client = client(reach).await;
        let at = || place(reach);
        let described = client.describe_table().table_name(reach.table).send().await;
        let described = described.map_err(|e| match e.code() {
            Some("ResourceNotFoundException") => ServeError::Table {
                at: at(),
                what: "there is no such table; `serin publish --create-table` makes it".to_owned(),
            },
            _ => ServeError::TableFailed { at: at(), what: fault(e).to_string() },
        })?;
        let wrong = |what: &str| ServeError::Table { at: at(), what: what.to_owned() };
        let table = described.table().ok_or_else(|| wrong("it was not described"))?;
        let [only] = table.key_schema() else {
            return Err(wrong("it has a sort key; lists need a table whose only key is a string"));
        };
        let key = only.attribute_name().to_owned();
        let text = table
            .attribute_definitions()
            .iter()
            .any(|d| d.attribute_name() == key && *d.attribute_type() == ScalarAttributeType::S);
        if !text || [VALUE, EXPIRES, OWNER, UNTIL].contains(&key.as_str()) {
            return Err(wrong("its key must be a string that is not called l, x, o or u"));
        }
        let units = table.provisioned_throughput().filter(|_| {
            table.billing_mode_summary().and_then(|b| b.billing_mode()) != Some(&BillingMode::PayPerRequest)
        });
        let write_units =
            units.and_then(ProvisionedThroughputDescription::write_capacity_units).filter(|u| *u > 0).map(|u| u as f64);
        let read_units =
            units.and_then(ProvisionedThroughputDescription::read_capacity_units).filter(|u| *u > 0).map(|u| u as f64);
        Ok(Self { client, name: reach.table.to_owned(), key, write_units, read_units })
    }

    /// Makes the table, on demand or with capacity, unless it is there; old generations leave it by their expiry.
    pub async fn create(reach: &Reach<'_>, units: Option<(i64, i64)>) -> Result<(), ServeError> {
        let client = client(reach).await;
        let failed = |what: String| ServeError::TableFailed { at: place(reach), what };
        let broken = |e: aws_sdk_dynamodb::error::BuildError| failed(e.to_string());
        let key = AttributeDefinition::builder().attribute_name("k").attribute_type(ScalarAttributeType::S).build();
        let schema = KeySchemaElement::builder().attribute_name("k").key_type(KeyType::Hash).build();
        let mut wish = client
            .create_table()
            .table_name(reach.table)
            .attribute_definitions(key.map_err(broken)?)
            .key_schema(schema.map_err(broken)?);
        wish = match units {
            None => wish.billing_mode(BillingMode::PayPerRequest),
            Some((read, write)) => {
                let units =
                    ProvisionedThroughput::builder().read_capacity_units(read).write_capacity_units(write).build();
                wish.billing_mode(BillingMode::Provisioned).provisioned_throughput(units.map_err(broken)?)
            }
        };
        match wish.send().await {
            Ok(_) => {}
            Err(e) if e.code() == Some("ResourceInUseException") => {}
            Err(e) => return Err(failed(fault(e).to_string())),
        }
        let began = std::time::Instant::now();
        loop {
            let told = client.describe_table().table_name(reach.table).send().await;
            let active = told.is_ok_and(|t| t.table().and_then(|t| t.table_status()) == Some(&TableStatus::Active));
            if active {
                return Ok(());
            }
            if began.elapsed() > MAKING {
                return Err(failed("the table was asked for and is not there yet; publish again".to_owned()));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Turns the expiry on, where it is not; returns whether old generations will leave by themselves.
    pub async fn expire(&self) -> bool {
        let told = self.client.describe_time_to_live().table_name(&self.name).send().await;
        let on = told.ok().and_then(|t| t.time_to_live_description?.attribute_name);
        if let Some(attribute) = on {
            return attribute == EXPIRES;
        }
        let wish = TimeToLiveSpecification::builder().enabled(true).attribute_name(EXPIRES).build();
        let Ok(wish) = wish else { return false };
        self.client.update_time_to_live().table_name(&self.name).time_to_live_specification(wish).send().await.is_ok()
    }

    fn named(&self, key: &str) -> HashMap<String, AttributeValue> {
        HashMap::from([(self.key.clone(), AttributeValue::S(key.to_owned()))])
    }

    fn item(&self, put: &Put, expires: Option<i64>) -> HashMap<String, AttributeValue> {
        let mut item = self.named(&put.key);
        item.insert(VALUE.to_owned(), AttributeValue::B(Blob::new(put.value.clone())));
        if let Some(at) = expires {
            item.insert(EXPIRES.to_owned(), AttributeValue::N(at.to_string()));
        }
        item
    }

    /// Writes at most 25 items; returns those that were not taken, and the units that were used.
    pub async fn write(&self, puts: &[Put], expires: i64) -> Result<(Vec<Put>, f64), Fault> {
        let request = |put: &Put| {
            let put = PutRequest::builder().set_item(Some(self.item(put, Some(expires)))).build();
            put.map(|put| WriteRequest::builder().put_request(put).build())
        };
        let requests: Result<Vec<_>, _> = puts.iter().map(request).collect();
        let requests = requests.map_err(|e| Fault::Refused(e.to_string()))?;
        let wish = self.client.batch_write_item().request_items(&self.name, requests);
        let answer = wish.return_consumed_capacity(ReturnConsumedCapacity::Total).send().await.map_err(fault)?;
        let used = answer.consumed_capacity().iter().filter_map(ConsumedCapacity::capacity_units);
        let used: f64 = used.sum();
        let left = answer.unprocessed_items.unwrap_or_default().remove(&self.name).unwrap_or_default();
        let keys: Vec<String> = left
            .into_iter()
            .filter_map(|r| match r.put_request?.item.remove(&self.key)? {
                AttributeValue::S(key) => Some(key),
                _ => None,
            })
            .collect();
        Ok((puts.iter().filter(|p| keys.contains(&p.key)).cloned().collect(), used))
    }

    /// Counts the lists of a generation among the next items of the table; returns the units used and where to go on.
    pub async fn count(&self, generation: u64, from: Option<Place>, most: Option<i32>) -> Result<Counted, Fault> {
        let page = self.client.scan().table_name(&self.name).consistent_read(true).select(Select::Count);
        let page = page.filter_expression("begins_with(#k, :g)").expression_attribute_names("#k", &self.key);
        let page = page.expression_attribute_values(":g", AttributeValue::S(list_key(generation, "")));
        let page = page.return_consumed_capacity(ReturnConsumedCapacity::Total).set_exclusive_start_key(from);
        let answer = page.set_limit(most).send().await.map_err(fault)?;
        let units = answer.consumed_capacity().and_then(ConsumedCapacity::capacity_units).unwrap_or(0.0);
        Ok(Counted { lists: u64::from(answer.count().cast_unsigned()), units, next: answer.last_evaluated_key })
    }

    /// Reads one value; eventually consistent where it may be a moment old.
    pub async fn read(&self, key: &str, consistent: bool) -> Result<Option<Vec<u8>>, Fault> {
        let wish = self.client.get_item().table_name(&self.name).set_key(Some(self.named(key)));
        let answer = wish.consistent_read(consistent).send().await.map_err(fault)?;
        Ok(answer.item.and_then(|mut item| bytes(item.remove(VALUE)?)))
    }

    /// Reads at most a hundred values; what is missing or was not told is not in the answer.
    pub async fn read_many(&self, keys: &[String]) -> Result<HashMap<String, Vec<u8>>, Fault> {
        let mut wanted = KeysAndAttributes::builder().consistent_read(true);
        for key in keys {
            wanted = wanted.keys(self.named(key));
        }
        let wanted = wanted.build().map_err(|e| Fault::Refused(e.to_string()))?;
        let answer = self.client.batch_get_item().request_items(&self.name, wanted).send().await.map_err(fault)?;
        let items = answer.responses.unwrap_or_default().remove(&self.name).unwrap_or_default();
        let pair = |mut item: HashMap<String, AttributeValue>| {
            let AttributeValue::S(key) = item.remove(&self.key)? else { return None };
            Some((key, bytes(item.remove(VALUE)?)?))
        };
        Ok(items.into_iter().filter_map(pair).collect())
    }

    /// Takes or keeps the right to publish until `until`, and says how far it is; `Taken` when another has it.
    pub async fn hold(&self, owner: &str, progress: &Progress, now: i64, until: i64) -> Result<(), Fault> {
        let text = serde_json::to_vec(progress).map_err(|e| Fault::Refused(e.to_string()))?;
        let mut item = self.item(&Put { key: super::table::PUBLISH.to_owned(), value: text }, None);
        item.insert(OWNER.to_owned(), AttributeValue::S(owner.to_owned()));
        item.insert(UNTIL.to_owned(), AttributeValue::N(until.to_string()));
        let wish = self.client.put_item().table_name(&self.name).set_item(Some(item));
        let free = wish
            .condition_expression("attribute_not_exists(#k) OR #u < :now OR #o = :me")
            .expression_attribute_names("#k", &self.key)
            .expression_attribute_names("#u", UNTIL)
            .expression_attribute_names("#o", OWNER)
            .expression_attribute_values(":now", AttributeValue::N(now.to_string()))
            .expression_attribute_values(":me", AttributeValue::S(owner.to_owned()));
        free.send().await.map(|_| ()).map_err(fault)
    }

    /// Points to another generation, provided that `owner` still may publish.
    pub async fn point(&self, pointer: &Pointer, owner: &str) -> Result<(), Fault> {
        let refused = |e: aws_sdk_dynamodb::error::BuildError| Fault::Refused(e.to_string());
        let text = serde_json::to_vec(pointer).map_err(|e| Fault::Refused(e.to_string()))?;
        let item = self.item(&Put { key: CURRENT.to_owned(), value: text }, None);
        let put = PutAction::builder().table_name(&self.name).set_item(Some(item)).build().map_err(refused)?;
        let check = ConditionCheck::builder()
            .table_name(&self.name)
            .set_key(Some(self.named(super::table::PUBLISH)))
            .condition_expression("#o = :me")
            .expression_attribute_names("#o", OWNER)
            .expression_attribute_values(":me", AttributeValue::S(owner.to_owned()))
            .build()
            .map_err(refused)?;
        let both = [
            TransactWriteItem::builder().condition_check(check).build(),
            TransactWriteItem::builder().put(put).build(),
        ];
        let wish = self.client.transact_write_items().set_transact_items(Some(both.into()));
        wish.send().await.map(|_| ()).map_err(fault)
    }

    /// Points to another generation, provided that the pointer is still `before`.
    pub async fn point_back(&self, pointer: &Pointer, before: &[u8]) -> Result<(), Fault> {
        let text = serde_json::to_vec(pointer).map_err(|e| Fault::Refused(e.to_string()))?;
        let item = self.item(&Put { key: CURRENT.to_owned(), value: text }, None);
        let wish = self.client.put_item().table_name(&self.name).set_item(Some(item));
        let same = wish
            .condition_expression("#l = :before")
            .expression_attribute_names("#l", VALUE)
            .expression_attribute_values(":before", AttributeValue::B(Blob::new(before)));
        same.send().await.map(|_| ()).map_err(fault)
    }

    /// Returns the pointer, and its bytes as they lie there.
    pub async fn pointer(&self) -> Result<Option<(Pointer, Vec<u8>)>, Fault> {
        let Some(text) = self.read(CURRENT, true).await? else { return Ok(None) };
        let odd = |e: serde_json::Error| Fault::Refused(format!("its pointer cannot be read: {e}"));
        Ok(Some((serde_json::from_slice(&text).map_err(odd)?, text)))
    }

    /// Returns how far the last publish came, and who held the right to it until when.
    pub async fn progress(&self) -> Result<Option<(Progress, i64)>, Fault> {
        let wish = self.client.get_item().table_name(&self.name).set_key(Some(self.named(super::table::PUBLISH)));
        let answer = wish.consistent_read(true).send().await.map_err(fault)?;
        let Some(mut item) = answer.item else { return Ok(None) };
        let until = item.get(UNTIL).and_then(|u| u.as_n().ok()?.parse().ok()).unwrap_or(0);
        let text = item.remove(VALUE).and_then(bytes).unwrap_or_default();
        Ok(Some((serde_json::from_slice(&text).unwrap_or_default(), until)))
    }

    /// Reads what travels with a generation.
    pub async fn meta(&self, generation: u64) -> Result<Meta, Fault> {
        let gone = || Fault::Refused(format!("what travels with generation {generation} is not there, or not whole"));
        let first = self.read(&meta_key(generation, 0), true).await?.ok_or_else(gone)?;
        let count = meta_pieces(&first).ok_or_else(gone)?;
        let mut pieces = vec![first];
        for piece in 1..count {
            pieces.push(self.read(&meta_key(generation, piece), true).await?.ok_or_else(gone)?);
        }
        meta(&pieces).ok_or_else(gone)
    }
}

fn bytes(value: AttributeValue) -> Option<Vec<u8>> {
    match value {
        AttributeValue::B(blob) => Some(blob.into_inner()),
        _ => None,
    }
}

/// The table as a person would name it.
pub fn place(reach: &Reach<'_>) -> String {
    match reach.endpoint {
        Some(endpoint) => format!("table {} at {endpoint}", reach.table),
        None => format!("table {}", reach.table),
    }
}

/// The generation that serves, to be read list by list.
#[derive(Debug)]
pub struct Remote {
    table: Table,
    pub kept: Kept,
    pub meta: Meta,
}

impl Remote {
    /// Opens the generation that the pointer names.
    pub async fn open(reach: &Reach<'_>) -> Result<Self, ServeError> {
        let table = Table::open(reach).await?;
        let failed = |fault: Fault| ServeError::TableFailed { at: place(reach), what: fault.to_string() };
        let (pointer, _) = table.pointer().await.map_err(failed)?.ok_or_else(|| ServeError::Table {
            at: place(reach),
            what: format!("nothing is published there; run `serin publish --store dynamodb:{}`", reach.table),
        })?;
        let kept = pointer.current().cloned().unwrap_or_default();
        let meta = table.meta(pointer.generation).await.map_err(failed)?;
        Ok(Self { table, kept: Kept { generation: pointer.generation, ..kept }, meta })
    }

    /// Reads the packed list under a key, eventually consistent: half a unit.
    pub async fn find(&self, key: &str) -> Result<Option<Vec<u8>>, Fault> {
        self.table.read(&list_key(self.kept.generation, key), false).await
    }
}

/// Tells which generation the pointer names now.
pub async fn current(reach: &Reach<'_>, table: &mut Option<Table>) -> Result<u64, String> {
    if table.is_none() {
        *table = Some(Table::open(reach).await.map_err(|e| e.to_string())?);
    }
    let Some(open) = table else { return Err("not open".to_owned()) };
    let found = open.pointer().await.map_err(|e| e.to_string())?;
    Ok(found.map_or(0, |(pointer, _)| pointer.generation))
}
