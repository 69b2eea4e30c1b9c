//! Identifiers 7001 to 7259: perishables, healthcare numbers, certifications, people.

use super::{AiSpec, Component, ai, chars, chars_to, digits, digits_to};
use crate::gs1::lint::Lint::{
    CompanyPrefix, CountryOr999, Day, FullDay, HourMinute, ImporterIndex, MediaType, PackageType,
    PercentEncoding, PositionInSequence, Sex,
};

const TEXT_10: &[Component] = &[chars_to(10)];
const TEXT_20: &[Component] = &[chars_to(20)];
const PROCESSOR: &[Component] = &[digits(3).lint(&[CountryOr999]), chars_to(27)];
const CERTIFICATION: &[Component] = &[chars(2), chars_to(28)];
const NAME_40: &[Component] = &[chars_to(40).lint(&[PercentEncoding])];

pub(super) static ROWS: &[AiSpec] = &[
    ai("7001", "NSN", &[digits(13)]).attribute().requires("01,02,8006,8026"),
    ai("7002", "MEAT CUT", &[chars_to(30)]).attribute().requires("01,02"),
    ai("7003", "EXPIRY TIME", &[digits(6).lint(&[Day]), digits(4).lint(&[HourMinute])])
        .attribute()
        .requires("01,02,03"),
    ai("7004", "ACTIVE POTENCY", &[digits_to(4)]).attribute().requires("01+10,03+10"),
    ai("7005", "CATCH AREA", &[chars_to(12)]).attribute().requires("01,02"),
    ai("7006", "FIRST FREEZE DATE", &[digits(6).lint(&[Day])]).attribute().requires("01,02"),
    ai("7007", "HARVEST DATE", &[digits(6).lint(&[Day]), digits(6).lint(&[Day]).optional()])
        .attribute()
        .requires("01,02"),
    ai("7008", "AQUATIC SPECIES", &[chars_to(3)]).attribute().requires("01,02"),
    ai("7009", "FISHING GEAR TYPE", TEXT_10).attribute().requires("01,02"),
    ai("7010", "PROD METHOD", &[chars_to(2)]).attribute().requires("01,02,03"),
    ai("7011", "TEST BY DATE", &[digits(6).lint(&[Day]), digits(4).lint(&[HourMinute]).optional()])
        .attribute()
        .requires("01,02,03"),
    ai("7020", "REFURB LOT", TEXT_20).attribute().requires("01+416,03+416,8006+416"),
    ai("7021", "FUNC STAT", TEXT_20).attribute().requires("01,03,8006"),
    ai("7022", "REV STAT", TEXT_20).attribute().requires("01+7021,03+7021,8006+7021"),
    ai("7023", "GIAI - ASSEMBLY", &[chars_to(30).lint(&[CompanyPrefix])]).attribute(),
    ai("7030", "PROCESSOR # 0", PROCESSOR).attribute().requires("01,02"),
    ai("7031", "PROCESSOR # 1", PROCESSOR).attribute().requires("01,02"),
    ai("7032", "PROCESSOR # 2", PROCESSOR).attribute().requires("01,02"),
    ai("7033", "PROCESSOR # 3", PROCESSOR).attribute().requires("01,02"),
    ai("7034", "PROCESSOR # 4", PROCESSOR).attribute().requires("01,02"),
    ai("7035", "PROCESSOR # 5", PROCESSOR).attribute().requires("01,02"),
    ai("7036", "PROCESSOR # 6", PROCESSOR).attribute().requires("01,02"),
    ai("7037", "PROCESSOR # 7", PROCESSOR).attribute().requires("01,02"),
    ai("7038", "PROCESSOR # 8", PROCESSOR).attribute().requires("01,02"),
    ai("7039", "PROCESSOR # 9", PROCESSOR).attribute().requires("01,02"),
    ai("7040", "UIC+EXT", &[digits(1), chars(1), chars(1), chars(1).lint(&[ImporterIndex])]),
    ai("7041", "UFRGT UNIT TYPE", &[chars_to(4).lint(&[PackageType])]).requires("00"),
    ai("710", "NHRN PZN", TEXT_20).attribute().requires("01"),
    ai("711", "NHRN CIP", TEXT_20).attribute().requires("01"),
    ai("712", "NHRN CN", TEXT_20).attribute().requires("01"),
    ai("713", "NHRN DRN", TEXT_20).attribute().requires("01"),
    ai("714", "NHRN AIM", TEXT_20).attribute().requires("01"),
    ai("715", "NHRN NDC", TEXT_20).attribute().requires("01"),
    ai("716", "NHRN AIC", TEXT_20).attribute().requires("01"),
    ai("717", "NHRN SRN", TEXT_20).attribute().requires("01"),
    ai("7230", "CERT # 1", CERTIFICATION).attribute().requires("01,8004"),
    ai("7231", "CERT # 2", CERTIFICATION).attribute().requires("01,8004"),
    ai("7232", "CERT # 3", CERTIFICATION).attribute().requires("01,8004"),
    ai("7233", "CERT # 4", CERTIFICATION).attribute().requires("01,8004"),
    ai("7234", "CERT # 5", CERTIFICATION).attribute().requires("01,8004"),
    ai("7235", "CERT # 6", CERTIFICATION).attribute().requires("01,8004"),
    ai("7236", "CERT # 7", CERTIFICATION).attribute().requires("01,8004"),
    ai("7237", "CERT # 8", CERTIFICATION).attribute().requires("01,8004"),
    ai("7238", "CERT # 9", CERTIFICATION).attribute().requires("01,8004"),
    ai("7239", "CERT # 10", CERTIFICATION).attribute().requires("01,8004"),
    ai("7240", "PROTOCOL", TEXT_20).attribute().requires("01,8006").excludes("03"),
    ai("7241", "AIDC MEDIA TYPE", &[digits(2).lint(&[MediaType])]).attribute().requires("8017,8018"),
    ai("7242", "VCN", &[chars_to(25)]).attribute().requires("8017,8018"),
    ai("7250", "DOB", &[digits(8).lint(&[FullDay])]).attribute().requires("8018").excludes("7251"),
    ai("7251", "DOB TIME", &[digits(8).lint(&[FullDay]), digits(4).lint(&[HourMinute])])
        .attribute()
        .requires("8018")
        .excludes("7250"),
    ai("7252", "BIO SEX", &[digits(1).lint(&[Sex])]).attribute().requires("8018"),
    ai("7253", "FAMILY NAME", NAME_40).attribute().requires("8017,8018").excludes("7256,7259"),
    ai("7254", "GIVEN NAME", NAME_40).attribute().requires("8017,8018").excludes("7256,7259"),
    ai("7255", "SUFFIX", TEXT_10).attribute().requires("8017,8018").excludes("7256,7259"),
    ai("7256", "FULL NAME", &[chars_to(90).lint(&[PercentEncoding])]).attribute().requires("8017,8018"),
    ai("7257", "PERSON ADDR", &[chars_to(70).lint(&[PercentEncoding])]).attribute().requires("8018"),
    ai("7258", "BIRTH SEQUENCE", &[chars(3).lint(&[PositionInSequence])]).attribute().requires("8018+7259"),
    ai("7259", "BABY", NAME_40).attribute().requires("8018").excludes("7256"),
];
