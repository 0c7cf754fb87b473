// Package peers sends mail to other mail systems and takes mail from them, by
// TLS: Postfix, Exim and OpenSMTPD from Debian's packages, each as the next hop
// of Sekisho's SMTP client and as the sender to a running Sekisho.
//
// All of them run in namespaces of their own. Exim and OpenSMTPD, which cannot
// be installed beside Postfix, are unpacked by .ci/packages. There is nothing
// here but tests.
package peers
