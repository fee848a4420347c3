//! `runnel config print|check|docs`.

use std::io::Write;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::{Settings, output};
use crate::config::{Config, SETTINGS, Setting};

#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print the settings in force, secrets masked.
    Print {
        #[command(flatten)]
        settings: Settings,
        /// How to print.
        #[arg(short, long, value_enum, default_value_t = Output::Toml)]
        output: Output,
    },
    /// Check the settings and say what is wrong with them.
    Check {
        #[command(flatten)]
        settings: Settings,
    },
    /// Explain every setting.
    Docs {
        /// How to print.
        #[arg(short, long, value_enum, default_value_t = output::Output::Table)]
        output: output::Output,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Output {
    Toml,
    Json,
    Yaml,
}

pub(crate) fn run(args: &ConfigArgs) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match &args.command {
        ConfigCommand::Print { settings, output } => {
            let config = settings.load()?.masked();
            match output {
                Output::Toml => write!(out, "{}", toml::to_string(&config)?)?,
                Output::Json => writeln!(out, "{}", serde_json::to_string_pretty(&config)?)?,
                Output::Yaml => {
                    output::print(output::Output::Yaml, &serde_json::to_value(&config)?, String::new)?;
                }
            }
        }
        ConfigCommand::Check { settings } => {
            settings.load()?;
            writeln!(out, "ok")?;
        }
        ConfigCommand::Docs { output } => docs(*output)?,
    }
    Ok(())
}

fn docs(output: output::Output) -> anyhow::Result<()> {
    let defaults = serde_json::to_value(Config::default())?;
    let default = |setting: &Setting| {
        match setting.key.split('.').fold(&defaults, |section, key| &section[key]) {
            // The host name differs by machine; the reference says where it comes from.
            _ if setting.key == "node.id" => String::new(),
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    };
    let rows = SETTINGS.iter().map(|setting| {
        json!({
            "key": setting.key, "default": default(setting), "doc": setting.doc, "secret": setting.secret,
            "environment": format!("RUNNEL_{}", setting.key.replace('.', "__").to_uppercase()),
        })
    });
    let table = || {
        let row = |setting: &Setting| format!("{:<26} {:<18} {}\n", setting.key, default(setting), setting.doc);
        SETTINGS.iter().map(row).collect()
    };
    Ok(output::print(output, &rows.collect::<Value>(), table)?)
}
