package site

// daemons are those of Postfix that have no process here, because they are part
// of this one or because nothing needs them.
var daemons = map[string]bool{
	"smtpd": true, "cleanup": true, "qmgr": true, "oqmgr": true, "nqmgr": true, "trivial-rewrite": true,
	"bounce": true, "virtual": true, "local": true, "pipe": true, "smtp": true, "lmtp": true, "error": true, "discard": true,
	"anvil": true, "tlsmgr": true, "proxymap": true, "scache": true, "postlogd": true, "pickup": true,
	"showq": true, "flush": true, "verify": true, "dnsblog": true, "tlsproxy": true,
}

// Runs reports whether what a daemon of master.cf does is done here, or needed
// by nothing here.
func Runs(daemon string) bool { return daemons[daemon] }
