-- Prosody's own modules only. What differs from Debian's configuration: no `offline`, which would
-- keep what is for workers that are gone; no `limits`, which lets 10 kB/s pass; no encryption
-- required.
run_as_root = true
pidfile = "@DIRECTORY@/pid"
data_path = "@DIRECTORY@/data"
log = { info = "@DIRECTORY@/log" }
interfaces = { "127.0.0.1" }
c2s_ports = { @PORT@ }
modules_enabled = { "saslauth", "tls", "ping", "disco", "roster", "private", "version", "time" }
modules_disabled = { "offline", "s2s", "s2s_auth_certs" }
authentication = "internal_plain"
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
@MORE@
VirtualHost "localhost"
VirtualHost "private.localhost"
VirtualHost "public.localhost"
