/** RTPROT_BOOT: what `ip route add` and flanneld write. Routes on our own devices carry it, so that either may take over. */
export const BOOT_PROTOCOL = 3

/**
 * Marks our routes on interfaces that are not ours (host-gw, DirectRouting). Free in iproute2's rt_protos; flanneld writes
 * `boot` there too, and so can tell its own routes from nobody's.
 */
export const TWILL_PROTOCOL = 117
