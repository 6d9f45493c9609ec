"""The programs that a page may tell a reader to run: those of a shell, of Debian, of NVIDIA, and few others.

The list is short so that a typing error in a command is seen.
"""

from __future__ import annotations

_NAMES = """
[ . : bash cd command echo eval exec exit export false mapfile printf read return set sh shift source test time trap
true ulimit umask unset wait

awk base64 cat chmod chown cp cut df diff du find grep gzip head install less ln ls md5sum mkdir mktemp mv od readlink
realpath rm rsync sed seq sha256sum sort stat tail tar tee touch tr uniq wc xargs xz

apt apt-cache apt-get cmp crontab date dmesg dpkg env free fuser fwupdmgr hostname id journalctl kill loginctl lscpu
lsmod lspci lsof modprobe nohup nproc pgrep pkill ps reboot sleep sudo swapoff sync sysctl systemctl systemd-analyze
systemd-run timedatectl timeout top uname uptime watch which

curl dig ethtool getent ip iperf3 netplan nc nft nmcli ping scp ss ssh ssh-copy-id ssh-keygen wget
ib_read_bw ib_write_bw ibdev2netdev ibstat ibv_devices ibv_devinfo mlnx_tune mpirun rdma show_gids
nvcc nvidia-ctk nvidia-smi

docker git gh hf make pip python python3 uv
kubectl sacct sbatch scancel scontrol sinfo sparkrun squeue srun
ffmpeg ffprobe jq sox
"""

PROGRAMS = frozenset(_NAMES.split())

WRAPPERS = frozenset({"command", "env", "exec", "nohup", "sudo", "time", "timeout", "watch"})
"""Programs whose arguments are a command, behind options and assignments."""
