# What a container may do when nothing else is asked for: whatever its capabilities, seccomp filter, namespaces and
# cgroups allow, but for mounting, for what it finds of other processes, and for the parts of /proc and /sys that
# belong to the host. Those are masked or read-only in a container anyway; this holds when a mount fails to hide them.
abi <abi/3.0>,

profile @NAME@ flags=(attach_disconnected, mediate_deleted) {
  capability,
  file,
  network,
  unix,
  umount,
  deny mount,

  # Anybody who may signal the container's processes may still do so; they themselves reach their like only.
  signal (receive),
  signal (send) peer=@NAME@,
  ptrace (read, readby, trace, tracedby) peer=@NAME@,

  # /proc: the processes, and of the kernel's settings those of an IPC namespace.
  deny /proc/* w,
  deny /proc/{[^0-9s],s[^ey]}*/** wkl,
  deny /proc/sysvipc/** wkl,
  deny /proc/sys/[^k]** wkl,
  deny /proc/sys/k[^e]** wkl,
  deny /proc/sys/kernel/{[^sm],s[^he],sh[^m],se[^m],m[^s],ms[^g]}** wkl,
  deny /proc/sysrq-trigger rwklx,
  deny /proc/kcore rwklx,

  # /sys: nothing may be written but cgroups.
  deny /sys/[^f]** wklx,
  deny /sys/f[^s]** wklx,
  deny /sys/fs/[^c]** wklx,
  deny /sys/fs/c[^g]** wklx,
  deny /sys/fs/cg[^r]** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/devices/virtual/powercap/** rwklx,
  deny /sys/kernel/security/** rwklx,
}
