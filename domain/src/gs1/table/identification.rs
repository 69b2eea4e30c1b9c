//! Identifiers 00 to 255: trade items, logistic units, lots, dates, serial numbers, documents.

use super::{AiSpec, Component, ai, chars_to, digits, digits_to};
use crate::gs1::lint::Lint::{CheckDigit, CompanyPrefix, CompanyPrefixAfterDigit, DayOrMonth};

const GTIN: &[Component] = &[digits(14).lint(&[CheckDigit, CompanyPrefixAfterDigit])];
const TEXT_20: &[Component] = &[chars_to(20)];
const DATE: &[Component] = &[digits(6).lint(&[DayOrMonth])];
const TEXT_30: &[Component] = &[chars_to(30)];

pub(super) static ROWS: &[AiSpec] = &[
    ai("00", "SSCC", &[digits(18).lint(&[CheckDigit, CompanyPrefixAfterDigit])])
        .predefined()
        .attribute()
        .key(""),
    ai("01", "GTIN", GTIN).predefined().attribute().excludes("255,37").key("22,10,21|235"),
    ai("02", "CONTENT", GTIN).predefined().attribute().requires("37").excludes("01,03"),
    ai("03", "MTO GTIN", GTIN).predefined().excludes("01,02,37,235"),
    ai("10", "BATCH/LOT", TEXT_20).attribute().requires("01,02,03,8006,8026"),
    ai("11", "PROD DATE", DATE).predefined().attribute().requires("01,02,03,8006,8026"),
    ai("12", "DUE DATE", DATE).predefined().attribute().requires("8020"),
    ai("13", "PACK DATE", DATE).predefined().attribute().requires("01,02,03,8006,8026"),
    ai("15", "BEST BEFORE or BEST BY", DATE).predefined().attribute().requires("01,02,03,8006,8026"),
    ai("16", "SELL BY", DATE).predefined().attribute().requires("01,02,03,8006,8026"),
    ai("17", "USE BY or EXPIRY", DATE).predefined().attribute().requires("01,02,03,255,8006,8026"),
    ai("20", "VARIANT", &[digits(2)]).predefined().attribute().requires("01,02,03,8006,8026"),
    ai("21", "SERIAL", TEXT_20).requires("01,03,8006").excludes("235"),
    ai("22", "CPV", TEXT_20).requires("01"),
    ai("235", "TPX", &[chars_to(28)]).requires("01"),
    ai("240", "ADDITIONAL ID", TEXT_30).attribute().requires("01,02,03,8006,8026"),
    ai("241", "CUST. PART No.", TEXT_30).attribute().requires("01,02,03,8006,8026"),
    ai("242", "MTO VARIANT", &[digits_to(6)]).attribute().requires("01,02,8006,8026"),
    ai("243", "PCN", TEXT_20).attribute().requires("01,03"),
    ai("250", "SECONDARY SERIAL", TEXT_30).attribute().requires("01+21,03+21,8006+21"),
    ai("251", "REF. TO SOURCE", TEXT_30).attribute().requires("01,03,8006"),
    ai("253", "GDTI", &[digits(13).lint(&[CheckDigit, CompanyPrefix]), chars_to(17).optional()])
        .attribute()
        .key(""),
    ai("254", "GLN EXTENSION COMPONENT", TEXT_20).requires("414"),
    ai("255", "GCN", &[digits(13).lint(&[CheckDigit, CompanyPrefix]), digits_to(12).optional()])
        .attribute()
        .excludes("01,02,415,8006,8020,8026")
        .key(""),
];
