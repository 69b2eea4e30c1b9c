use super::*;
use document::Document;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::of(Document::new(Layer::File, Path::new("lotgate.toml"), text).read()?)
}

fn refused(text: &str) -> (ConfigErrorCode, usize, String) {
    let error = parse(text).expect_err(text);
    (error.code, error.line, error.key)
}

/// Sources in an empty directory of their own.
fn sources(dir: &Path) -> Sources {
    Sources {
        policy_dir: dir.join("policy.d"),
        installer_file: dir.join("installer.toml"),
        default_file: dir.join("lotgate.toml"),
        flags: Flags::default(),
        environment: Vec::new(),
    }
}

fn origin(config: &Config, key: &str) -> (Layer, Value) {
    let row = config.effective.iter().find(|row| row.key == key).unwrap();
    (row.origin.layer, row.value.clone())
}

#[test]
fn a_whole_file_is_read() {
    let config = parse(
        "[cloud]\nserver = \"https://cloud.example\"\nproxy = \"none\"\n[paths]\ndata = \"/d\"\n[station]\nname = \"D1\"\n\
         [keys]\nstore = \"secret_service\"\n[log]\nfilter = \"debug\"\n[codes]\nlot_prefix = [\"LOT:\"]\n\
         [[device]]\nrole = \"scanner\"\ntransport = \"serial\"\npath = \"/dev/ttyACM0\"\nbaud = 115200\n",
    )
    .unwrap();
    assert_eq!(config.server.as_deref(), Some("https://cloud.example"));
    assert_eq!(config.proxy, WayOut::Direct);
    assert_eq!(config.secure_dir, Path::new("/d.secure"));
    assert_eq!(config.key_store, KeyStore::SecretService);
    assert_eq!(config.scanners.len(), 1);
    assert_eq!(config.scanners[0].settings.baud, 115_200);
    assert_eq!(config.site_codes.0.len(), 1);
    let shown = origin(&config, "device");
    assert_eq!(shown.0, Layer::File);
    assert_eq!(shown.1[0]["terminator"], "cr", "what was not written is shown, too");
}

#[test]
fn an_error_names_line_and_key() {
    use ConfigErrorCode as C;
    assert_eq!(refused("[cloud]\nservre = \"x\"\n"), (C::ConfigUnknownKey, 2, "cloud.servre".to_owned()));
    assert_eq!(refused("\n[clowd]\n"), (C::ConfigUnknownKey, 2, "clowd".to_owned()));
    assert_eq!(refused("[cloud]\nserver = 1\n").0, C::ConfigMalformed);
    assert_eq!(refused("[cloud]\nserver = 1\n").1, 2);
    assert_eq!(refused("[cloud\n").0, C::ConfigMalformed);
    let invalid =
        |text: &str, key: &str| assert_eq!(refused(text), (C::ConfigInvalidValue, 2, key.to_owned()));
    invalid("[cloud]\nserver = \"cloud\"\n", "cloud.server");
    invalid("[cloud]\nproxy = \"yes\"\n", "cloud.proxy");
    invalid("[keys]\nstore = \"tpm\"\n", "keys.store");
    invalid("[log]\nfilter = \"a=b=c\"\n", "log.filter");
    invalid("[codes]\nlot_prefix = [\"\"]\n", "codes.lot_prefix");
    let device = "[[device]]\nrole = \"scanner\"\ntransport = \"serial\"\n";
    assert_eq!(refused(device), (C::ConfigMissingKey, 1, "device.path".to_owned()));
    let baud = format!("{device}path = \"/x\"\nbaud = 1\n");
    assert_eq!(refused(&baud), (C::ConfigInvalidValue, 5, "device.baud".to_owned()));
}

const PRINTER: &str = "[[device]]\nrole = \"printer\"\ntransport = \"tcp\"\n";

#[test]
fn a_printer_has_an_address_and_may_have_a_name() {
    let config =
        parse(&format!("{PRINTER}name = \"Etiketten grün\"\naddress = \"10.0.0.1:6101\"\n")).unwrap();
    let printer = &config.printers[0];
    assert_eq!(printer.name.as_deref(), Some("Etiketten grün"));
    assert_eq!((printer.host.as_str(), printer.port), ("10.0.0.1", 6_101));
    assert!(config.scanners.is_empty());
    let config = parse(&format!("{PRINTER}address = \"zebra\"\n")).unwrap();
    let shown = json!([{"role": "printer", "transport": "tcp", "name": null, "address": "zebra:9100"}]);
    assert_eq!(origin(&config, "device"), (Layer::File, shown), "the port is shown, too");
    let both = format!(
        "[[device]]\nrole = \"scanner\"\ntransport = \"serial\"\nname = \"Hand\"\npath = \"/x\"\n{PRINTER}address = \"a\"\n"
    );
    let both = parse(&both).unwrap();
    assert_eq!((both.scanners[0].name.as_deref(), both.printers.len()), (Some("Hand"), 1));
    assert_eq!(origin(&both, "device").1[0]["name"], "Hand");
}

#[test]
fn what_a_printer_cannot_be_is_refused_with_its_key() {
    use ConfigErrorCode as C;
    let refused_with = |rest: &str| refused(&format!("{PRINTER}{rest}"));
    assert_eq!(refused_with(""), (C::ConfigMissingKey, 1, "device.address".to_owned()));
    let wrong = (C::ConfigInvalidValue, 4, "device.address".to_owned());
    for address in ["", "a b", "a:0", "a:99999", "tcp://a"] {
        assert_eq!(refused_with(&format!("address = \"{address}\"\n")), wrong, "{address}");
    }
    for (key, line) in
        [("path", "path = \"/x\""), ("baud", "baud = 9600"), ("usb", "usb = { vid = 1, pid = 2 }")]
    {
        let given = refused_with(&format!("address = \"a\"\n{line}\n"));
        assert_eq!(given, (C::ConfigInvalidValue, 1, format!("device.{key}")));
    }
    for name in ["", " a", "a\\u0007", &"x".repeat(41)] {
        let given = refused_with(&format!("name = \"{name}\"\naddress = \"a\"\n"));
        assert_eq!(given, (C::ConfigInvalidValue, 4, "device.name".to_owned()), "{name}");
    }
    let second = format!("{PRINTER}address = \"a\"\n{PRINTER}address = \"b\"\n");
    assert_eq!(refused(&second), (C::NotInThisVersion, 6, "device.role".to_owned()));
    let address = "[[device]]\nrole = \"scanner\"\ntransport = \"serial\"\naddress = \"a\"\n";
    assert_eq!(refused(address), (C::ConfigInvalidValue, 4, "device.address".to_owned()));
}

#[test]
fn the_screen_begins_in_the_language_that_is_set_and_in_english_otherwise() {
    assert_eq!(parse("").unwrap().language, Language::En);
    let config = parse("[station]\nlanguage = \"de\"\n").unwrap();
    assert_eq!(
        (config.language, origin(&config, "station.language")),
        (Language::De, (Layer::File, json!("de")))
    );
    let wrong = refused("[station]\nlanguage = \"fr\"\n");
    assert_eq!(wrong, (ConfigErrorCode::ConfigInvalidValue, 2, "station.language".to_owned()));
    let environment = vec![("LOTGATE_LANGUAGE".into(), "de".into())];
    let variable = Sources { environment, ..sources(Path::new("/nowhere")) };
    assert_eq!(Config::load(&variable).unwrap().language, Language::De);
}

#[test]
fn what_this_version_cannot_drive_is_said_so() {
    use ConfigErrorCode as C;
    let scale = "[[device]]\nrole = \"scale\"\ntransport = \"serial\"\npath = \"/x\"\n";
    assert_eq!(refused(scale), (C::NotInThisVersion, 2, "device.role".to_owned()));
    let serial = "[[device]]\nrole = \"printer\"\ntransport = \"serial\"\npath = \"/x\"\n";
    assert_eq!(refused(serial), (C::NotInThisVersion, 3, "device.transport".to_owned()));
    let hid = "[[device]]\nrole = \"scanner\"\ntransport = \"hid\"\n";
    assert_eq!(refused(hid), (C::NotInThisVersion, 3, "device.transport".to_owned()));
}

#[test]
fn the_upper_source_wins_in_the_order_of_the_design() {
    let dir = tempfile::tempdir().unwrap();
    let mut sources = sources(dir.path());
    let named = |name: &str| format!("[station]\nname = \"{name}\"\n");
    let mut seen = vec![origin(&Config::load(&sources).unwrap(), "station.name")];
    let mut look = |sources: &Sources| seen.push(origin(&Config::load(sources).unwrap(), "station.name"));
    std::fs::write(&sources.installer_file, named("installer")).unwrap();
    look(&sources);
    std::fs::write(&sources.default_file, named("file")).unwrap();
    look(&sources);
    sources.environment =
        vec![("LOTGATE_STATION_NAME".into(), "environment".into()), ("PATH".into(), "/".into())];
    look(&sources);
    std::fs::create_dir(&sources.policy_dir).unwrap();
    std::fs::write(sources.policy_dir.join("10.toml"), named("policy 10")).unwrap();
    std::fs::write(sources.policy_dir.join("20.toml"), named("policy 20")).unwrap();
    std::fs::write(sources.policy_dir.join("30.toml.off"), "nonsense").unwrap();
    look(&sources);
    let expected = [
        (Layer::BuiltIn, "Station"),
        (Layer::Installer, "installer"),
        (Layer::File, "file"),
        (Layer::Environment, "environment"),
        (Layer::Policy, "policy 20"),
    ];
    assert_eq!(seen, expected.map(|(layer, name)| (layer, json!(name))));

    sources.flags.server = Some("https://flag".to_owned());
    sources.environment.push(("LOTGATE_SERVER".into(), "https://environment".into()));
    assert_eq!(
        origin(&Config::load(&sources).unwrap(), "cloud.server"),
        (Layer::Flag, json!("https://flag"))
    );
    std::fs::write(sources.policy_dir.join("40.toml"), "[cloud]\nserver = \"https://policy\"\n").unwrap();
    assert_eq!(Config::load(&sources).unwrap().server.as_deref(), Some("https://policy"));
}

#[test]
fn a_mistake_in_any_source_is_an_error_even_under_another_one() {
    let dir = tempfile::tempdir().unwrap();
    let good = {
        let mut sources = sources(dir.path());
        sources.flags.server = Some("https://flag".to_owned());
        sources
    };
    let bad = "\n[cloud]\nservre = \"x\"\n";
    std::fs::create_dir(&good.policy_dir).unwrap();
    for file in [good.policy_dir.join("a.toml"), good.default_file.clone(), good.installer_file.clone()] {
        std::fs::write(&file, bad).unwrap();
        let error = Config::load(&good).expect_err("an unknown key");
        let told = (error.code, error.file.as_path(), error.line, error.key.as_str());
        assert_eq!(told, (ConfigErrorCode::ConfigUnknownKey, file.as_path(), 3, "cloud.servre"));
        std::fs::remove_file(file).unwrap();
    }
    for (name, value, code) in [
        ("LOTGATE_SERVRE", "https://x", ConfigErrorCode::ConfigUnknownKey),
        ("LOTGATE_SERVER", "x", ConfigErrorCode::ConfigInvalidValue),
        ("LOTGATE_KEY_STORE", "", ConfigErrorCode::ConfigInvalidValue),
    ] {
        let sources = Sources { environment: vec![(name.into(), value.into())], ..good.clone() };
        let error = Config::load(&sources).expect_err(name);
        let told = (error.code, error.file.as_path(), error.line, error.key.as_str());
        assert_eq!(told, (code, Path::new("environment"), 0, name));
    }
    let flags = Flags { server: Some("ftp://x".to_owned()), ..Flags::default() };
    let error = Config::load(&Sources { flags, ..good.clone() }).expect_err("no server");
    assert_eq!(error.to_string().split_once(": ").unwrap().0, "command line");
    let flags = Flags { config: Some(dir.path().join("none.toml")), ..Flags::default() };
    let error = Config::load(&Sources { flags, ..good }).expect_err("a named file must be there");
    assert_eq!(error.code, ConfigErrorCode::ConfigUnreadable);
}

#[test]
fn the_secure_directory_is_never_within_the_data_directory() {
    let with = |data: &str, secure: Option<&str>| {
        let flags =
            Flags { data_dir: Some(data.into()), secure_dir: secure.map(PathBuf::from), ..Flags::default() };
        Config::load(&Sources { flags, ..sources(Path::new("/nowhere")) })
    };
    let beside = with("/x/sl/", None).unwrap();
    assert_eq!((beside.data_dir, beside.secure_dir), ("/x/sl".into(), "/x/sl.secure".into()));
    for (data, secure) in [("/x/d", "/x/d"), ("/x/d", "/x/d/secure"), ("/x/s/d", "/x/s")] {
        let error = with(data, Some(secure)).expect_err("not apart");
        assert_eq!(error.code, ConfigErrorCode::DirectoriesNotApart, "{data} {secure}");
    }
    assert_eq!(with("", Some("/x")).expect_err("empty").code, ConfigErrorCode::ConfigInvalidValue);
}

#[test]
fn another_data_directory_moves_the_secure_one_along() {
    let dir = tempfile::tempdir().unwrap();
    let mut sources = sources(dir.path());
    std::fs::write(&sources.default_file, "[paths]\ndata = \"/a\"\nsecure = \"/keys\"\n").unwrap();
    assert_eq!(Config::load(&sources).unwrap().secure_dir, Path::new("/keys"));
    sources.flags.data_dir = Some("/b".into());
    assert_eq!(Config::load(&sources).unwrap().secure_dir, Path::new("/b.secure"));
    sources.flags.secure_dir = Some("/more".into());
    assert_eq!(Config::load(&sources).unwrap().secure_dir, Path::new("/more"));
}

#[test]
fn a_proxys_password_is_not_shown_and_the_fingerprint_is_of_what_is_shown() {
    let proxy = |url: &str| parse(&format!("[cloud]\nproxy = \"{url}\"\n")).unwrap();
    let secret = proxy("http://user:pa@ss@proxy:3128");
    assert_eq!(secret.proxy, WayOut::Proxy("http://user:pa@ss@proxy:3128".to_owned()));
    assert_eq!(origin(&secret, "cloud.proxy").1, json!("http://***@proxy:3128"));
    assert_eq!(secret.sha256, proxy("http://a:b@proxy:3128").sha256);
    assert_ne!(secret.sha256, proxy("http://proxy:3128").sha256);
}

#[test]
fn plain_http_is_for_loopback_only() {
    for good in ["https://a", "http://127.0.0.1:8080", "http://localhost", "http://[::1]:1"] {
        assert_eq!(value::server(good.to_owned()), Ok(good.to_owned()), "{good}");
    }
    for bad in [
        "https://a/path",
        "https://u@a",
        "http://a",
        "http://127.0.0.1.evil.example",
        "ftp://a",
        "https://",
        "127.0.0.1",
    ] {
        assert!(value::server(bad.to_owned()).is_err(), "{bad}");
    }
}
