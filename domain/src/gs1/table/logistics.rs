//! Identifiers 4300 to 4333: ship-to and return-to addresses, services, temperatures.

use super::{AiSpec, Component, ai, chars, chars_to, digits};
use crate::gs1::lint::Lint::{
    CountryLetters, Day, DayOrMonth, HourMinute, Hyphen, Latitude, Longitude, PercentEncoding, YesNo,
};

const ADDRESS_35: &[Component] = &[chars_to(35).lint(&[PercentEncoding])];
const ADDRESS_70: &[Component] = &[chars_to(70).lint(&[PercentEncoding])];
const COUNTRY_LETTERS: &[Component] = &[chars(2).lint(&[CountryLetters])];
const TEXT_30: &[Component] = &[chars_to(30)];
const YES_OR_NO: &[Component] = &[digits(1).lint(&[YesNo])];
const DATE_TIME: &[Component] = &[digits(6).lint(&[DayOrMonth]), digits(4).lint(&[HourMinute])];
const TEMPERATURE: &[Component] = &[digits(6), chars(1).lint(&[Hyphen]).optional()];

pub(super) static ROWS: &[AiSpec] = &[
    ai("4300", "SHIP TO COMP", ADDRESS_35).attribute().requires("00"),
    ai("4301", "SHIP TO NAME", ADDRESS_35).attribute().requires("00"),
    ai("4302", "SHIP TO ADD1", ADDRESS_70).attribute().requires("00"),
    ai("4303", "SHIP TO ADD2", ADDRESS_70).attribute().requires("4302"),
    ai("4304", "SHIP TO SUB", ADDRESS_70).attribute().requires("00"),
    ai("4305", "SHIP TO LOC", ADDRESS_70).attribute().requires("00"),
    ai("4306", "SHIP TO REG", ADDRESS_70).attribute().requires("00"),
    ai("4307", "SHIP TO COUNTRY", COUNTRY_LETTERS).attribute().requires("00"),
    ai("4308", "SHIP TO PHONE", TEXT_30).attribute().requires("00"),
    ai("4309", "SHIP TO GEO", &[digits(10).lint(&[Latitude]), digits(10).lint(&[Longitude])])
        .attribute()
        .requires("00"),
    ai("4310", "RTN TO COMP", ADDRESS_35).attribute().requires("00"),
    ai("4311", "RTN TO NAME", ADDRESS_35).attribute().requires("00"),
    ai("4312", "RTN TO ADD1", ADDRESS_70).attribute().requires("00"),
    ai("4313", "RTN TO ADD2", ADDRESS_70).attribute().requires("4312"),
    ai("4314", "RTN TO SUB", ADDRESS_70).attribute().requires("00"),
    ai("4315", "RTN TO LOC", ADDRESS_70).attribute().requires("00"),
    ai("4316", "RTN TO REG", ADDRESS_70).attribute().requires("00"),
    ai("4317", "RTN TO COUNTRY", COUNTRY_LETTERS).attribute().requires("00"),
    ai("4318", "RTN TO POST", &[chars_to(20)]).attribute().requires("00"),
    ai("4319", "RTN TO PHONE", TEXT_30).attribute().requires("00"),
    ai("4320", "SRV DESCRIPTION", ADDRESS_35).attribute().requires("00"),
    ai("4321", "DANGEROUS GOODS", YES_OR_NO).attribute().requires("00"),
    ai("4322", "AUTH TO LEAVE", YES_OR_NO).attribute().requires("00"),
    ai("4323", "SIG REQUIRED", YES_OR_NO).attribute().requires("00"),
    ai("4324", "NOT BEF DEL DT", DATE_TIME).attribute().requires("00"),
    ai("4325", "NOT AFT DEL DT", DATE_TIME).attribute().requires("00"),
    ai("4326", "REL DATE", &[digits(6).lint(&[Day])]).attribute().requires("00"),
    ai("4330", "MAX TEMP F.", TEMPERATURE).attribute().requires("00").excludes("4331"),
    ai("4331", "MAX TEMP C.", TEMPERATURE).attribute().requires("00").excludes("4330"),
    ai("4332", "MIN TEMP F.", TEMPERATURE).attribute().requires("00").excludes("4333"),
    ai("4333", "MIN TEMP C.", TEMPERATURE).attribute().requires("00").excludes("4332"),
];
