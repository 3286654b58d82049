//! Configuration files of kubelet, containerd and its network plugins.

use crate::place::Place;
use serde_json::{Value, json};

/// Image that holds a pod's namespaces.
pub(super) const PAUSE: &str = "localhost/pause:1";

/// Where kubelet looks for FlexVolume drivers. Not the upstream default, which is on the machine's own disk.
pub const VOLUME_PLUGIN_DIR: &str = "/var/lib/kubelet/volumeplugins";

/// Where Debian's containernetworking-plugins are.
const CNI_BIN: &str = "/usr/lib/cni";

/// containerd 1.6, with its data in the cluster's directory.
///
/// `restrict_oom_score_adj`: a root without `CAP_SYS_RESOURCE` cannot lower the score, and runc says only
/// "can't get final child's PID from pipe".
pub(super) fn containerd(place: &Place) -> String {
    let path = |name: &str| place.path(name).display().to_string();
    format!(
        r#"version = 2
root = "{root}"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{opt}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI_BIN}"
    conf_dir = "{cni}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
"#,
        root = path("containerd"),
        opt = path("opt"),
        cni = path("cni"),
    )
}

/// A bridge for pods that are not on the node's network.
pub(super) fn network() -> Value {
    json!({
        "cniVersion": "0.4.0",
        "name": "e2e",
        "plugins": [{
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": true,
            "isDefaultGateway": true,
            "ipMasq": false,
            "ipam": { "type": "host-local", "ranges": [[{ "subnet": "10.214.0.0/16" }]] },
        }],
    })
}

/// `syncFrequency` makes kubelet publish again every 10 to 15 s instead of every 60 to 90 s.
pub(super) fn kubelet(place: &Place) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
            "x509": { "clientCAFile": place.path("pki/ca.crt") },
        },
        "authorization": { "mode": "Webhook" },
        "tlsCertFile": place.path("pki/kubelet.crt"),
        "tlsPrivateKeyFile": place.path("pki/kubelet.key"),
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": false,
        "failSwapOn": false,
        "oomScoreAdj": 0,
        "enforceNodeAllocatable": [],
        "evictionHard": { "memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%" },
        "imageGCHighThresholdPercent": 100,
        "makeIPTablesUtilChains": false,
        "resolvConf": "",
        "podLogsDir": "/var/log/pods",
        "volumePluginDir": VOLUME_PLUGIN_DIR,
        "syncFrequency": "10s",
        "volumeStatsAggPeriod": "10s",
        "nodeStatusUpdateFrequency": "2s",
        "maxPods": 110,
        "serializeImagePulls": false,
        "registryPullQPS": 0,
        "eventRecordQPS": 0,
        "kubeAPIQPS": 200,
        "kubeAPIBurst": 400,
        "hairpinMode": "none",
    })
}
