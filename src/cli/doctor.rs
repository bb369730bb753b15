//! `curb doctor`: what stands in a pipeline's way before it is started, each finding with its remedy.

mod brokers;
mod finding;
mod group;
mod machine;
mod pack;
mod registry;
mod rights;
mod settings;
mod topics;

use std::path::PathBuf;

use clap::Args;

use self::finding::{Findings, Level};
use super::run::kafka_settings;
use super::settings::{Configuration, SettingsArgs};
use super::{Failure, OutputForm, print};
use crate::kafka::{Inspection, Settings};

/// Look for what keeps a pipeline from running well: brokers, topics, rights, the group, clocks, disks, files, the pack
///
/// Takes the settings of `curb run`, from the same places, and says for each thing whether it is ok, a warning or a problem, and
/// what to do about it. Nothing is changed: of a cluster it asks, and registers as the writer of transactions PIPELINE-doctor.
/// A pipeline that runs is not disturbed. Exit code 1 where there is a problem, 4 where no broker answers.
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// The pack: a folder of .sql files, or one file; without it only the cluster and this machine are looked at
    pack: Option<PathBuf>,
    #[command(flatten)]
    settings: SettingsArgs,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    output: OutputForm,
}

pub(super) fn run(args: &DoctorArgs, configuration: &Configuration) -> Result<(), Failure> {
    let mut findings = Findings::default();
    settings::look(configuration, &mut findings);
    let loaded = args.pack.as_deref().and_then(|path| pack::look(path, args.settings.time_zone, &mut findings));
    machine::look(&args.settings, &mut findings);
    registry::look(configuration, &mut findings);
    let is_reachable = match cluster_settings(args, configuration, loaded.as_ref(), &mut findings) {
        Some(settings) => ask(args, &settings, loaded.as_ref(), &mut findings),
        None => true,
    };
    match args.output {
        OutputForm::Text => print(&findings.text())?,
        OutputForm::Json => print(&format!("{:#}\n", findings.json()))?,
    }
    match (is_reachable, findings.n(Level::Problem)) {
        (false, _) => Err(Failure::Unreachable(anyhow::anyhow!("no broker answers as it should; see above"))),
        (true, 0) => Ok(()),
        (true, _) => Err(Failure::Refused),
    }
}

/// What a worker would be given; none where it is not known which cluster.
fn cluster_settings(
    args: &DoctorArgs,
    configuration: &Configuration,
    loaded: Option<&super::load::Loaded>,
    findings: &mut Findings,
) -> Option<Settings> {
    let found = match loaded {
        Some(loaded) => kafka_settings(&args.settings, configuration, &loaded.catalog),
        None => args.settings.kafka(configuration),
    };
    match found {
        Ok(settings) => Some(settings),
        Err(Failure::Usage(error)) => {
            findings.skip("cluster", "the cluster was not looked at", &format!("{error:#}"));
            None
        }
        Err(other) => {
            let text = other.error().map(|e| format!("{e:#}")).unwrap_or_default();
            findings.problem("cluster", &text, "change the pack or the settings; the cluster was not looked at");
            None
        }
    }
}

/// Asks the cluster; returns whether it answers.
fn ask(args: &DoctorArgs, settings: &Settings, loaded: Option<&super::load::Loaded>, findings: &mut Findings) -> bool {
    if !brokers::look(settings, findings) {
        return false;
    }
    let inspection = match Inspection::open(settings.clone()) {
        Ok(inspection) => inspection,
        Err(error) => {
            findings.problem(
                "settings",
                &error.to_string(),
                "correct the property; `curb config show` says where it was set",
            );
            return true;
        }
    };
    let topics = topics::look(args, settings, loaded, &inspection, findings);
    let group = group::look(settings, &topics, &inspection, findings);
    rights::look(settings, &topics, group.as_ref(), &inspection, findings);
    true
}

impl DoctorArgs {
    fn may_create(&self) -> bool {
        self.settings.create_topics
    }

    fn shards(&self) -> Option<u32> {
        self.settings.shards
    }
}
