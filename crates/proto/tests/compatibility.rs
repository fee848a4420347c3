//! The interface only grows: `proto/golden.txt` lists every field, value and method ever released, and none of them may
//! change its number, name or type, or go.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet};

#[test]
fn nothing_that_clients_know_has_changed() {
    let golden = format!("{}/../../proto/golden.txt", std::env::var("CARGO_MANIFEST_DIR").unwrap());
    let golden = std::fs::read_to_string(golden).unwrap();
    let golden: BTreeSet<_> = golden.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
    let now = summary();
    let gone: Vec<_> = golden.difference(&now).collect();
    assert!(gone.is_empty(), "clients rely on these, which are gone or have changed:\n{gone:#?}");
    let new: Vec<_> = now.difference(&golden).map(String::as_str).collect();
    assert!(new.is_empty(), "add these lines to proto/golden.txt:\n{}", new.join("\n"));
}

/// One line for each field, enum value and method.
fn summary() -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for file in FileDescriptorSet::decode(runnel_proto::DESCRIPTORS).unwrap().file {
        let package = file.package();
        file.message_type.iter().for_each(|m| message(package, m, &mut lines));
        file.enum_type.iter().for_each(|e| values(package, e, &mut lines));
        for service in &file.service {
            for method in &service.method {
                let stream = |streaming| if streaming { "stream " } else { "" };
                let (asked, answered) = (stream(method.client_streaming()), stream(method.server_streaming()));
                let (input, output) = (method.input_type(), method.output_type());
                let name = format!("{package}.{}/{}", service.name(), method.name());
                lines.insert(format!("{name} ({asked}{input}) returns ({answered}{output})"));
            }
        }
    }
    lines
}

fn message(scope: &str, message_type: &DescriptorProto, lines: &mut BTreeSet<String>) {
    let name = format!("{scope}.{}", message_type.name());
    for field in &message_type.field {
        let number = field.number();
        lines.insert(format!("{name} {number} {} {} {}", field.name(), type_of(field), label(field)));
    }
    message_type.nested_type.iter().for_each(|nested| message(&name, nested, lines));
    message_type.enum_type.iter().for_each(|nested| values(&name, nested, lines));
}

fn values(scope: &str, enum_type: &EnumDescriptorProto, lines: &mut BTreeSet<String>) {
    for value in &enum_type.value {
        lines.insert(format!("{scope}.{} {} {}", enum_type.name(), value.number(), value.name()));
    }
}

fn type_of(field: &FieldDescriptorProto) -> String {
    match field.r#type() {
        Type::Message | Type::Enum => field.type_name().trim_start_matches('.').to_owned(),
        plain => plain.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    }
}

fn label(field: &FieldDescriptorProto) -> &'static str {
    match field.label() {
        Label::Repeated => "repeated",
        _ if field.proto3_optional() => "optional",
        _ if field.oneof_index.is_some() => "oneof",
        _ => "singular",
    }
}
