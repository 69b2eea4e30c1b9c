//! What the operator of a restored cloud types.

use lotgate_tests::plant::Plant;
use lotgate_tests::programs::{run, run_json};

#[test]
fn the_commands_after_a_restore_show_the_log_and_refuse_what_cannot_be_right() {
    let plant = Plant::new("restore_cli").unwrap();
    let tenant = plant.tenant.as_str();
    let shown = run_json(plant.cloud_command().unwrap().args(["log", "head", "--tenant", tenant])).unwrap();
    assert_eq!(shown["generation"], 1);
    assert!(shown["size"].as_u64().unwrap() >= 4, "the tenant's certificates: {shown}");
    assert_eq!(shown["root"].as_str().unwrap().len(), 64);

    let file = plant.dir.join("no-certificates").display().to_string();
    std::fs::write(&file, "no frames").unwrap();
    let nobody = "018bcfe5-6800-7000-8000-000000000000";
    let recovered =
        ["log", "recovered", "--tenant", tenant, "--root-key", &file, "--known-checkpoint", &file];
    let recovered =
        [&recovered[..], &["--reason", "disk lost", "--person", "Ada", "--person", "Bob"]].concat();
    for (arguments, exit, words) in [
        (recovered, 2, "--restored <SIZE>"),
        (vec!["log", "head", "--tenant", nobody], 1, "not_found"),
        (vec!["station", "admit", "--tenant", tenant, "--certificates", &file], 1, "bad_request"),
        (
            vec!["station", "admit", "--tenant", tenant, "--certificates", "/none"],
            1,
            "certificates_unreadable",
        ),
    ] {
        let output = run(plant.cloud_command().unwrap().args(&arguments)).unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {complaint}");
        assert!(complaint.contains(words), "{arguments:?}: {complaint}");
    }
}
