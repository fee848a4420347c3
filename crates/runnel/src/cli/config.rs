//! `runnel config print|check|docs`.

use std::io::Write;

use clap::{Args, Subcommand, ValueEnum};

use super::Settings;
use crate::config::{Config, SETTINGS};

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
        #[arg(short, long, value_enum, default_value_t = DocsOutput::Table)]
        output: DocsOutput,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Output {
    Toml,
    Json,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DocsOutput {
    Table,
    Json,
}

pub(crate) fn run(args: &ConfigArgs) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match &args.command {
        ConfigCommand::Print { settings, output } => {
            let config = settings.load()?.masked();
            match output {
                Output::Toml => write!(out, "{}", toml::to_string(&config)?)?,
                Output::Json => writeln!(out, "{}", serde_json::to_string_pretty(&config)?)?,
            }
        }
        ConfigCommand::Check { settings } => {
            settings.load()?;
            writeln!(out, "ok")?;
        }
        ConfigCommand::Docs { output } => docs(&mut out, *output)?,
    }
    Ok(())
}

fn docs(out: &mut impl Write, output: DocsOutput) -> anyhow::Result<()> {
    let defaults = serde_json::to_value(Config::default())?;
    let rows = SETTINGS.iter().map(|setting| {
        let (section, key) = setting.key.split_once('.').unwrap_or((setting.key, ""));
        let default = match &defaults[section][key] {
            // The host name differs by machine; the reference says where it comes from.
            _ if setting.key == "node.id" => String::new(),
            serde_json::Value::Null => String::new(),
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        (setting, default)
    });
    match output {
        DocsOutput::Table => {
            for (setting, default) in rows {
                writeln!(out, "{:<26} {:<18} {}", setting.key, default, setting.doc)?;
            }
        }
        DocsOutput::Json => {
            let rows: Vec<_> = rows
                .map(|(setting, default)| {
                    serde_json::json!({
                        "key": setting.key, "default": default, "doc": setting.doc, "secret": setting.secret,
                        "environment": format!("RUNNEL_{}", setting.key.replacen('.', "__", 1).to_uppercase()),
                    })
                })
                .collect();
            writeln!(out, "{}", serde_json::to_string_pretty(&rows)?)?;
        }
    }
    Ok(())
}
