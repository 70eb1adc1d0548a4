# Shared by tests/demo and tests/all: brings a bare Debian to where cargo can take over. Sourced in the checkout, which CHECKOUT names, not run.
# It installs what is missing with apt and says so; everything else is the work of the Rust programs.

set -eu
tools=$CHECKOUT/out/tools

say() { printf '%s\n' "corten: $*" >&2; }
fail() { say "$*"; exit 1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else
        fail "needs root for: $* (run as root, or install sudo)"
    fi
}

installed() { dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed; }

apt_updated=
apt_update() {
    [ -n "$apt_updated" ] || { say "reading the package lists"; as_root apt-get update -qq; apt_updated=1; }
}

# Installs packages; started services would be a surprise, so none of these packages brings one. Nothing is removed for them.
need() {
    missing=
    for package in "$@"; do installed "$package" || missing="$missing $package"; done
    [ -n "$missing" ] || return 0
    apt_update
    say "installing with apt:$missing"
    # shellcheck disable=SC2086
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-remove --no-install-recommends $missing >/dev/null ||
        fail "apt could not install:$missing (its message stands above)"
}

# QEMU: where qemu-utils came from backports, the suite's own qemu-system-x86 does not fit beside it, and apt would remove
# qemu-utils to make it fit.
need_qemu() {
    if ! installed qemu-system-x86 && installed qemu-utils; then
        apt_update
        if ! apt-get install -s -qq --no-remove --no-install-recommends qemu-system-x86 >/dev/null 2>&1; then
            # shellcheck source=/dev/null
            suite=$(. /etc/os-release && echo "$VERSION_CODENAME")-backports
            mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)
            say "the installed qemu-utils is newer than this suite's QEMU: adding $suite for it"
            echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" |
                as_root tee /etc/apt/sources.list.d/corten-backports.list >/dev/null
            as_root apt-get update -qq
            as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-remove --no-install-recommends \
                -t "$suite" qemu-system-x86 ovmf >/dev/null || fail "apt could not install QEMU from $suite"
        fi
    fi
    need qemu-system-x86 qemu-utils ovmf
}

# Unpacks packages below out/tools without installing them: their daemons (a registry, an etcd to compare with) would
# otherwise be started by systemd and listen.
apt_config=
unpack() {
    for package in "$@"; do
        [ ! -e "$tools/.$package" ] || continue
        mkdir -p "$tools"
        apt_update
        say "unpacking $package into out/tools (not installed, so that no service starts)"
        rm -rf "$tools/deb.new" && mkdir "$tools/deb.new"
        # As root, if we are root: apt's own user cannot write into a folder of the checkout, and apt would warn of it.
        (cd "$tools/deb.new" && APT_CONFIG=$apt_config apt-get -o APT::Sandbox::User=root download -qq "$package") ||
            fail "apt could not download $package"
        dpkg-deb -x "$tools"/deb.new/*.deb "$tools"
        rm -r "$tools/deb.new"
        : >"$tools/.$package"
    done
    PATH=$PATH:$tools/usr/bin:$tools/usr/sbin:$tools/bin
    export PATH
}

# etcd to compare with: 3.4 is the last that speaks v2 as its clients know it, and only Debian 12 has it. Elsewhere it comes
# from Debian 12's archive by way of package lists of its own; the host's are not touched.
unpack_etcd() {
    case $(apt-cache policy etcd-server | sed -n 's/^ *Candidate: //p') in
    3.4.*) ;;
    *) [ -e "$tools/.etcd-client" ] || read_bookworm ;;
    esac
    unpack etcd-server etcd-client
    apt_config=
}

read_bookworm() {
    apt_update
    lists=$tools/bookworm
    mkdir -p "$lists/lists/partial" "$lists/cache/archives/partial"
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror bookworm main" >"$lists/sources.list"
    cat >"$lists/apt.conf" <<CONF
Dir::Etc::SourceList "$lists/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State::Lists "$lists/lists";
Dir::Cache "$lists/cache";
APT::Sandbox::User "root";
CONF
    apt_config=$lists/apt.conf
    say "reading Debian 12's package lists, for etcd 3.4"
    APT_CONFIG=$apt_config apt-get update -qq || fail "apt could not read the package lists of $mirror bookworm"
}

# Under sudo, HOME is root's, but the toolchain is that of who asked.
user_home=$(getent passwd "${SUDO_USER:-$(id -un)}" | cut -d: -f6)
if ! command -v cargo >/dev/null; then
    [ -x "$user_home/.cargo/bin/cargo" ] ||
        fail "no cargo: install the Rust toolchain (https://rustup.rs), then run this again"
    export PATH="$user_home/.cargo/bin:$PATH" RUSTUP_HOME="${RUSTUP_HOME:-$user_home/.rustup}"
fi

# The image is built in mounts of its own. In a chroot whose / is no mount point they cannot be made, and that would show
# only after everything is compiled.
as_root unshare --mount true || fail "no mounts of its own can be made here (unshare --mount fails):
  in a chroot, make its folder a mount point before entering it: mount --bind DIR DIR && chroot DIR
  in a container, run it with --privileged, or at least --cap-add SYS_ADMIN"

# mount, which debootstrap brings and mmdebstrap does not, is for the image builder.
need gcc libc6-dev pkg-config libseccomp-dev git ca-certificates mmdebstrap debian-archive-keyring mount openssh-client
need_qemu
unpack docker-registry busybox-static
