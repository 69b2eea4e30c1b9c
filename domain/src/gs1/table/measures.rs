//! Identifiers 30 to 395n: counts, trade and logistic measures, amounts and prices.

use super::{AiSpec, Component, ai, ai_range, digits, digits_to};
use crate::gs1::lint::Lint::Currency;

const COUNT: &[Component] = &[digits_to(8)];
const SIX_DIGITS: &[Component] = &[digits(6)];
const AMOUNT: &[Component] = &[digits_to(15)];
const CURRENCY_AMOUNT: &[Component] = &[digits(3).lint(&[Currency]), digits_to(15)];

/// A measure of a trade item; one to a scan, the last digit being the place of the decimal point.
const fn trade(first: &'static str, last: &'static str, own: &'static str, title: &'static str) -> AiSpec {
    ai_range(first, last, title, SIX_DIGITS).predefined().attribute().requires("01,02").excludes(own)
}

/// A measure of a trade item or a logistic unit.
const fn logistic(first: &'static str, last: &'static str, own: &'static str, title: &'static str) -> AiSpec {
    ai_range(first, last, title, SIX_DIGITS).predefined().attribute().requires("00,01").excludes(own)
}

pub(super) static ROWS: &[AiSpec] = &[
    ai("30", "VAR. COUNT", COUNT).attribute().requires("01,02"),
    trade("3100", "3105", "310n", "NET WEIGHT (kg)"),
    trade("3110", "3115", "311n", "LENGTH (m)"),
    trade("3120", "3125", "312n", "WIDTH (m)"),
    trade("3130", "3135", "313n", "HEIGHT (m)"),
    trade("3140", "3145", "314n", "AREA (m²)"),
    trade("3150", "3155", "315n", "NET VOLUME (l)"),
    trade("3160", "3165", "316n", "NET VOLUME (m³)"),
    trade("3200", "3205", "320n", "NET WEIGHT (lb)"),
    trade("3210", "3215", "321n", "LENGTH (in)"),
    trade("3220", "3225", "322n", "LENGTH (ft)"),
    trade("3230", "3235", "323n", "LENGTH (yd)"),
    trade("3240", "3245", "324n", "WIDTH (in)"),
    trade("3250", "3255", "325n", "WIDTH (ft)"),
    trade("3260", "3265", "326n", "WIDTH (yd)"),
    trade("3270", "3275", "327n", "HEIGHT (in)"),
    trade("3280", "3285", "328n", "HEIGHT (ft)"),
    trade("3290", "3295", "329n", "HEIGHT (yd)"),
    logistic("3300", "3305", "330n", "GROSS WEIGHT (kg)"),
    logistic("3310", "3315", "331n", "LENGTH (m), log"),
    logistic("3320", "3325", "332n", "WIDTH (m), log"),
    logistic("3330", "3335", "333n", "HEIGHT (m), log"),
    logistic("3340", "3345", "334n", "AREA (m²), log"),
    logistic("3350", "3355", "335n", "VOLUME (l), log"),
    logistic("3360", "3365", "336n", "VOLUME (m³), log"),
    ai_range("3370", "3375", "KG PER m²", SIX_DIGITS)
        .predefined()
        .attribute()
        .requires("01")
        .excludes("337n"),
    logistic("3400", "3405", "340n", "GROSS WEIGHT (lb)"),
    logistic("3410", "3415", "341n", "LENGTH (in), log"),
    logistic("3420", "3425", "342n", "LENGTH (ft), log"),
    logistic("3430", "3435", "343n", "LENGTH (yd), log"),
    logistic("3440", "3445", "344n", "WIDTH (in), log"),
    logistic("3450", "3455", "345n", "WIDTH (ft), log"),
    logistic("3460", "3465", "346n", "WIDTH (yd), log"),
    logistic("3470", "3475", "347n", "HEIGHT (in), log"),
    logistic("3480", "3485", "348n", "HEIGHT (ft), log"),
    logistic("3490", "3495", "349n", "HEIGHT (yd), log"),
    trade("3500", "3505", "350n", "AREA (in²)"),
    trade("3510", "3515", "351n", "AREA (ft²)"),
    trade("3520", "3525", "352n", "AREA (yd²)"),
    logistic("3530", "3535", "353n", "AREA (in²), log"),
    logistic("3540", "3545", "354n", "AREA (ft²), log"),
    logistic("3550", "3555", "355n", "AREA (yd²), log"),
    trade("3560", "3565", "356n", "NET WEIGHT (tr oz)"),
    trade("3570", "3575", "357n", "NET VOLUME (oz)"),
    trade("3600", "3605", "360n", "NET VOLUME (qt (US))"),
    trade("3610", "3615", "361n", "NET VOLUME (gal.)"),
    logistic("3620", "3625", "362n", "VOLUME (qt (US)), log"),
    logistic("3630", "3635", "363n", "VOLUME (gal (US)), log"),
    trade("3640", "3645", "364n", "NET VOLUME (in³)"),
    trade("3650", "3655", "365n", "NET VOLUME (ft³)"),
    trade("3660", "3665", "366n", "NET VOLUME (yd³)"),
    logistic("3670", "3675", "367n", "VOLUME (in³), log"),
    logistic("3680", "3685", "368n", "VOLUME (ft³), log"),
    logistic("3690", "3695", "369n", "VOLUME (yd³), log"),
    ai("37", "COUNT", COUNT).attribute().requires("00+02,00+8026"),
    ai_range("3900", "3909", "AMOUNT", AMOUNT)
        .attribute()
        .requires("255,8020")
        .excludes("390n,391n,394n,8111"),
    ai_range("3910", "3919", "AMOUNT", CURRENCY_AMOUNT).attribute().requires("8020").excludes("391n"),
    ai_range("3920", "3929", "PRICE", AMOUNT)
        .attribute()
        .requires("01+30,01+31nn,01+32nn,01+35nn,01+36nn")
        .excludes("392n,393n"),
    ai_range("3930", "3939", "PRICE", CURRENCY_AMOUNT)
        .attribute()
        .requires("30,31nn,32nn,35nn,36nn")
        .excludes("393n"),
    ai_range("3940", "3943", "PRCNT OFF", &[digits(4)]).attribute().requires("255").excludes("394n,8111"),
    ai_range("3950", "3955", "PRICE/UoM", SIX_DIGITS)
        .attribute()
        .requires("30,31nn,32nn,35nn,36nn")
        .excludes("392n,393n,395n,8005"),
];
