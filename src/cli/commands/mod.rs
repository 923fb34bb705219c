//! One file a command: its flags as `clap::Args`, its doc as the help, and the job it becomes.

pub mod canary;
pub mod catalogue;
pub mod check;
pub mod console;
pub mod cost;
pub mod data;
pub mod evaluate;
pub mod experiment;
pub mod gate;
pub mod help;
pub mod init;
pub mod limit;
pub mod limiter;
pub mod load;
pub mod publish;
pub mod recommend;
pub mod replay;
pub mod report;
pub mod serve;
pub mod stack;
pub mod token;
pub mod train;
pub mod watch;

use super::exit::Exit;
use super::session::Session;
use crate::run::error::RunError;

#[derive(clap::Subcommand)]
#[command(disable_help_subcommand = true)]
pub enum Word {
    Data(data::Data),
    Train(train::Train),
    Evaluate(evaluate::Evaluate),
    Recommend(recommend::Recommend),
    Catalogue(catalogue::Catalogue),
    Publish(publish::Publish),
    Serve(serve::Serve),
    Stack(stack::Stack),
    Token(token::Token),
    Load(load::Load),
    Replay(replay::Replay),
    Limit(limit::Limit),
    Limiter(limiter::Limiter),
    Gate(gate::Gate),
    Canary(canary::Canary),
    Experiment(experiment::Experiment),
    Cost(cost::Cost),
    Watch(watch::Watch),
    Check(check::Check),
    Report(report::Report),
    Init(init::Init),
    Help(help::Help),
}

impl Word {
    pub fn run(self, session: &Session) -> Result<Exit, RunError> {
        match self {
            Self::Data(command) => command.run(session),
            Self::Train(command) => command.run(session),
            Self::Evaluate(command) => command.run(session),
            Self::Recommend(command) => command.run(session),
            Self::Catalogue(command) => command.run(session),
            Self::Publish(command) => command.run(session),
            Self::Serve(command) => command.run(session),
            Self::Stack(command) => command.run(session),
            Self::Token(command) => command.run(session),
            Self::Load(command) => command.run(session),
            Self::Replay(command) => command.run(session),
            Self::Limit(command) => command.run(session),
            Self::Limiter(command) => command.run(session),
            Self::Gate(command) => command.run(session),
            Self::Canary(command) => command.run(session),
            Self::Experiment(command) => command.run(session),
            Self::Cost(command) => command.run(session),
            Self::Watch(command) => command.run(session),
            Self::Check(command) => command.run(session),
            Self::Report(command) => command.run(session),
            Self::Init(command) => command.run(session),
            Self::Help(command) => command.run(session),
        }
    }
}
