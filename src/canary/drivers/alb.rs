//! A rule of an AWS load balancer that forwards to two target groups: two signed calls, weights from 0 to 999.
//!
//! Its stickiness holds a viewer on the side where they are: on the way back to nobody it is turned off, or they would stay.

use crate::canary::driver::{Driver, DriverError};
use crate::canary::wiring::Alb;
use crate::serve::aws::{Aws, ELB};

/// Both weights together: steps of half a percent.
const TOTAL: f64 = 200.0;

pub struct Rule {
    wiring: Alb,
    aws: Aws,
}

/// What DescribeRules says of the rule's forwarding.
#[derive(Clone, Debug, PartialEq)]
struct Forward {
    /// Target groups and their weights, in order.
    groups: Vec<(String, f64)>,
    sticky_s: Option<u64>,
}

impl Rule {
    pub fn new(wiring: Alb) -> Result<Self, String> {
        let aws = Aws::open(Some(&wiring.region), wiring.endpoint.as_deref()).map_err(|e| e.to_string())?;
        Ok(Self { wiring, aws })
    }

    fn failed(&self, why: impl Into<String>) -> DriverError {
        DriverError::new(self.name(), why)
    }

    fn ask(&mut self, action: &str, fields: &[(String, String)]) -> Result<String, DriverError> {
        self.aws.query(&ELB, action, "2015-12-01", fields).map_err(|e| self.failed(e.to_string()))
    }

    fn describe(&mut self) -> Result<Forward, DriverError> {
        let rule = self.wiring.rule.clone();
        let told = self.ask("DescribeRules", &[("RuleArns.member.1".to_owned(), rule)])?;
        let forward = forward(&told).map_err(|why| self.failed(why))?;
        for wanted in [&self.wiring.canary, &self.wiring.baseline] {
            if !forward.groups.iter().any(|g| g.0 == *wanted) {
                return Err(self.failed(format!("the rule does not forward to {wanted}")));
            }
        }
        Ok(forward)
    }
}

/// Reads the one forward action of a rule; a rule that does something else besides is not ours to rewrite.
fn forward(xml: &str) -> Result<Forward, String> {
    let odd = || "DescribeRules tells no rule that forwards to target groups by weight".to_owned();
    let actions = between(xml, "<Actions>", "</Actions>").ok_or_else(odd)?;
    if let Some(kind) = ["authenticate-oidc", "authenticate-cognito", "redirect", "fixed-response"]
        .iter()
        .find(|k| actions.contains(**k))
    {
        return Err(format!("the rule also does `{kind}`: it is not rewritten"));
    }
    let config = between(actions, "<ForwardConfig>", "</ForwardConfig>").ok_or_else(odd)?;
    let groups = between(config, "<TargetGroups>", "</TargetGroups>").ok_or_else(odd)?;
    let group = |member: &str| {
        let arn = between(member, "<TargetGroupArn>", "</TargetGroupArn>")?.trim().to_owned();
        let weight = between(member, "<Weight>", "</Weight>").map_or(Some(1.0), |w| w.trim().parse().ok())?;
        Some((arn, weight))
    };
    let groups: Vec<_> = groups.split("</member>").filter_map(group).collect();
    let sticky = between(config, "<TargetGroupStickinessConfig>", "</TargetGroupStickinessConfig>");
    let sticky = sticky.filter(|s| between(s, "<Enabled>", "</Enabled>").is_some_and(|e| e.trim() == "true"));
    let sticky_s = sticky.map(|s| {
        between(s, "<DurationSeconds>", "</DurationSeconds>").and_then(|d| d.trim().parse().ok()).unwrap_or(3600)
    });
    if groups.is_empty() { Err(odd()) } else { Ok(Forward { groups, sticky_s }) }
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    let rest = &text[text.find(from)? + from.len()..];
    Some(&rest[..rest.find(to)?])
}

impl Driver for Rule {
    fn name(&self) -> String {
        format!("the load balancer's rule {}", self.wiring.rule.rsplit('/').next().unwrap_or_default())
    }

    fn read(&mut self) -> Result<f64, DriverError> {
        let forward = self.describe()?;
        let total: f64 = forward.groups.iter().map(|g| g.1).sum();
        if total <= 0.0 {
            return Err(self.failed("all weights are 0: nobody is served"));
        }
        let canary = forward.groups.iter().find(|g| g.0 == self.wiring.canary).map_or(0.0, |g| g.1);
        Ok(canary / total)
    }

    fn set(&mut self, share: f64) -> Result<(), DriverError> {
        let forward = self.describe()?;
        let canary = (share * TOTAL).round();
        let action = "Actions.member.1";
        let mut fields =
            vec![("RuleArn".to_owned(), self.wiring.rule.clone()), (format!("{action}.Type"), "forward".to_owned())];
        for (i, (arn, weight)) in forward.groups.iter().enumerate() {
            let weight = match arn {
                a if *a == self.wiring.canary => canary,
                a if *a == self.wiring.baseline => TOTAL - canary,
                _ => *weight,
            };
            let member = format!("{action}.ForwardConfig.TargetGroups.member.{}", i + 1);
            fields.push((format!("{member}.TargetGroupArn"), arn.clone()));
            fields.push((format!("{member}.Weight"), weight.to_string()));
        }
        let sticky = format!("{action}.ForwardConfig.TargetGroupStickinessConfig");
        match forward.sticky_s.filter(|_| share > 0.0) {
            Some(seconds) => {
                fields.push((format!("{sticky}.Enabled"), "true".to_owned()));
                fields.push((format!("{sticky}.DurationSeconds"), seconds.to_string()));
            }
            None => fields.push((format!("{sticky}.Enabled"), "false".to_owned())),
        }
        self.ask("ModifyRule", &fields).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_read_and_one_that_does_more_is_left_alone() {
        let xml = "<Rules><member><Actions><member><Type>forward</Type><ForwardConfig><TargetGroups>\
            <member><TargetGroupArn>arn:old</TargetGroupArn><Weight>90</Weight></member>\
            <member><TargetGroupArn>arn:new</TargetGroupArn><Weight>10</Weight></member></TargetGroups>\
            <TargetGroupStickinessConfig><Enabled>true</Enabled><DurationSeconds>60</DurationSeconds>\
            </TargetGroupStickinessConfig></ForwardConfig></member></Actions></member></Rules>";
        let read = forward(xml).expect("reads");
        assert_eq!(read.groups, [("arn:old".to_owned(), 90.0), ("arn:new".to_owned(), 10.0)]);
        assert_eq!(read.sticky_s, Some(60));
        assert!(forward(&xml.replace("forward</Type>", "redirect</Type>")).is_err_and(|e| e.contains("redirect")));
        assert!(forward("<html>").is_err());
    }
}
