#![allow(warnings, clippy::all)]
#[path = "../tests/queue_rig/mod.rs"]
mod queue_rig;
use lotgate_domain::chain::Head;
use queue_rig::{Rig, scan};
use std::time::Instant;
fn cpu() -> f64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    t.tv_sec as f64 + t.tv_nsec as f64 / 1e9
}
fn pct(v: &mut Vec<f64>, p: f64) -> f64 {
    v.sort_by(|a, b| a.partial_cmp(b).unwrap());
    v[((v.len() - 1) as f64 * p) as usize]
}
fn main() {
    let rt = tokio::runtime::Builder::new_current_thread().build().unwrap();
    rt.block_on(async {
        let rig = Rig::new();
        let queue = rig.create();
        let n = 2000;
        // floor
        use std::io::{Seek, Write};
        let mut f =
            std::fs::OpenOptions::new().write(true).create(true).open(rig.directory().join("floor")).unwrap();
        f.write_all(&vec![0u8; 4096 * 2001]).unwrap();
        f.sync_all().unwrap();
        f.rewind().unwrap();
        let mut floor = vec![];
        let mut own = vec![];
        let c0 = cpu();
        let mut fc = 0.0;
        let mut qc = 0.0;
        for i in 0..n {
            let a = cpu();
            let t = Instant::now();
            f.write_all(&[1u8; 4096]).unwrap();
            f.sync_data().unwrap();
            floor.push(t.elapsed().as_secs_f64() * 1e3);
            let b = cpu();
            fc += b - a;
            let t = Instant::now();
            queue.append(scan(i)).await.unwrap();
            own.push(t.elapsed().as_secs_f64() * 1e3);
            qc += cpu() - b;
        }
        println!(
            "floor p50 {:.3} p99 {:.3} cpu {:.0}us | queue p50 {:.3} p99 {:.3} cpu {:.0}us",
            pct(&mut floor, 0.5),
            pct(&mut floor, 0.99),
            fc / n as f64 * 1e6,
            pct(&mut own, 0.5),
            pct(&mut own, 0.99),
            qc / n as f64 * 1e6
        );
        let mut g = vec![];
        let a = cpu();
        for _ in 0..100 {
            let t = Instant::now();
            let w: Vec<_> = (0..100).map(|i| queue.submit(scan(i))).collect();
            for x in w {
                x.await.unwrap();
            }
            g.push(t.elapsed().as_secs_f64() * 1e3);
        }
        println!(
            "group 100: p50 {:.3} ms p99 {:.3}, cpu/op {:.1}us",
            pct(&mut g, 0.5),
            pct(&mut g, 0.99),
            (cpu() - a) / 10000.0 * 1e6
        );
        let t = Instant::now();
        let a = cpu();
        let mut left = 100_000u64;
        while left > 0 {
            let w: Vec<_> = (0..500).map(|i| queue.submit(scan(i))).collect();
            for x in w {
                x.await.unwrap();
            }
            left -= 500;
        }
        println!("100k bulk: {:.2}s cpu/op {:.1}us", t.elapsed().as_secs_f64(), (cpu() - a) / 1e5 * 1e6);
        let t = Instant::now();
        let a = cpu();
        let mut after = Head::genesis(queue.identity().certificate.hash);
        let mut c = 0;
        while let Some(b) = queue.batch(after, 1000, 1 << 20).await.unwrap() {
            c += b.count;
            after = Head { epoch: Some(b.epoch), seq: b.last.seq, hash: b.last.hash };
        }
        println!(
            "batch {} in {:.2}s cpu/op {:.1}us",
            c,
            t.elapsed().as_secs_f64(),
            (cpu() - a) / c as f64 * 1e6
        );
        let t = Instant::now();
        queue.close().await.unwrap();
        println!("close {:.3}s", t.elapsed().as_secs_f64());
        let t = Instant::now();
        let queue = rig.open();
        println!("open {:.3}s", t.elapsed().as_secs_f64());
        let t = Instant::now();
        let v = rig.view().verify(|_| {}).unwrap();
        println!("verify {} {:?} in {:.2}s", v.entries, v.first_fault, t.elapsed().as_secs_f64());
        let t = Instant::now();
        let s = rig.secure_dir();
        drop(queue);
        let small = Rig::new();
        small.create().close().await.unwrap();
        let t = Instant::now();
        let q = small.open();
        println!("open small {:.3}s", t.elapsed().as_secs_f64());
    });
}
