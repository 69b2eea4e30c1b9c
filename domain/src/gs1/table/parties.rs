//! Identifiers 400 to 427: orders, shipments, locations, countries.

use super::{AiSpec, Component, ai, chars_to, digits};
use crate::gs1::lint::Lint::{CheckDigit, CompanyPrefix, Country};

const TEXT_30: &[Component] = &[chars_to(30)];
const GLN: &[Component] = &[digits(13).lint(&[CheckDigit, CompanyPrefix])];
const COUNTRY: &[Component] = &[digits(3).lint(&[Country])];
const COUNTRIES: &[Component] = &[
    digits(3).lint(&[Country]),
    digits(3).lint(&[Country]).optional(),
    digits(3).lint(&[Country]).optional(),
    digits(3).lint(&[Country]).optional(),
    digits(3).lint(&[Country]).optional(),
];

pub(super) static ROWS: &[AiSpec] = &[
    ai("400", "ORDER NUMBER", TEXT_30).attribute(),
    ai("401", "GINC", &[chars_to(30).lint(&[CompanyPrefix])]).attribute().key(""),
    ai("402", "GSIN", &[digits(17).lint(&[CheckDigit, CompanyPrefix])]).attribute().key(""),
    ai("403", "ROUTE", TEXT_30).attribute().requires("00"),
    ai("410", "SHIP TO LOC", GLN).predefined().attribute(),
    ai("411", "BILL TO", GLN).predefined().attribute(),
    ai("412", "PURCHASE FROM", GLN).predefined().attribute(),
    ai("413", "SHIP FOR LOC", GLN).predefined().attribute(),
    ai("414", "LOC No.", GLN).predefined().attribute().key("254|7040"),
    ai("415", "PAY TO", GLN).predefined().attribute().requires("8020").key("8020"),
    ai("416", "PROD/SERV LOC", GLN).predefined().attribute(),
    ai("417", "PARTY", GLN).predefined().attribute().key("7040"),
    ai("420", "SHIP TO POST", &[chars_to(20)]).attribute().excludes("421"),
    ai("421", "SHIP TO POST", &[digits(3).lint(&[Country]), chars_to(9)]).attribute().excludes("4307"),
    ai("422", "ORIGIN", COUNTRY).attribute().requires("01,02,03,8006,8026").excludes("426"),
    ai("423", "COUNTRY - INITIAL PROCESS", COUNTRIES).attribute().requires("01,02,03").excludes("426"),
    ai("424", "COUNTRY - PROCESS", COUNTRY).attribute().requires("01,02,03").excludes("426"),
    ai("425", "COUNTRY - DISASSEMBLY", COUNTRIES).attribute().requires("01,02,03").excludes("426"),
    ai("426", "COUNTRY - FULL PROCESS", COUNTRY).attribute().requires("01,02,03"),
    ai("427", "ORIGIN SUBDIVISION", &[chars_to(3)]).attribute().requires("01+422,02+422,03+422"),
];
