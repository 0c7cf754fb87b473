// Package site compiles a configuration directory into what decides about
// mail: the tables it names, the address resolver, and one restriction program
// for each smtpd service of master.cf, whose -o options may change the lists.
// It finds what would keep a server from starting, each with its place and a
// mend.
//
// It listens on nothing, asks no DNS except for host names in inet_interfaces,
// and evaluates nothing. The server starts from a Site; check and explain look
// at one. master(5), postconf(5).
package site
