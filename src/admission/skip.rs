//! Why a pod was left as it is. The names are labels of a metric.

/// Why a pod is not injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Skip {
    /// It did not ask.
    NotAsked,
    /// It asked not to be.
    OptedOut,
    /// It asked with a word that is neither true nor false.
    UnknownValue,
    /// It is.
    AlreadyInjected,
    /// Its namespace is the cluster's or the injector's own.
    ExcludedNamespace,
    /// A classic sidecar would keep it from ever finishing.
    RunsToCompletion,
    /// An annotation cannot be read, or asks for more than the policy grants.
    BadAnnotation,
    /// There is nothing in it to watch.
    NoTarget,
    /// No free port for the sidecar.
    PortClash,
    /// Something of another kind bears the sidecar's name.
    NameClash,
    /// It is not for Linux.
    NotLinux,
    /// It is for processors that the sidecar's image is not for.
    OtherArchitecture,
    /// It shows a static pod, which runs by its file whatever becomes of it here.
    MirrorPod,
    /// It is no pod that a server would take.
    MalformedPod,
    /// The request is about something else than a new pod.
    NotANewPod,
    /// Our own patch failed its check.
    PatchFailed,
}

impl Skip {
    /// Every reason.
    pub const ALL: [Self; 16] = [
        Self::NotAsked,
        Self::OptedOut,
        Self::UnknownValue,
        Self::AlreadyInjected,
        Self::ExcludedNamespace,
        Self::RunsToCompletion,
        Self::BadAnnotation,
        Self::NoTarget,
        Self::PortClash,
        Self::NameClash,
        Self::NotLinux,
        Self::OtherArchitecture,
        Self::MirrorPod,
        Self::MalformedPod,
        Self::NotANewPod,
        Self::PatchFailed,
    ];

    /// As a label.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotAsked => "not_asked",
            Self::OptedOut => "opted_out",
            Self::UnknownValue => "unknown_value",
            Self::AlreadyInjected => "already_injected",
            Self::ExcludedNamespace => "excluded_namespace",
            Self::RunsToCompletion => "runs_to_completion",
            Self::BadAnnotation => "bad_annotation",
            Self::NoTarget => "no_target",
            Self::PortClash => "port_clash",
            Self::NameClash => "name_clash",
            Self::NotLinux => "not_linux",
            Self::OtherArchitecture => "other_architecture",
            Self::MirrorPod => "mirror_pod",
            Self::MalformedPod => "malformed_pod",
            Self::NotANewPod => "not_a_new_pod",
            Self::PatchFailed => "patch_failed",
        }
    }
}
