// Package master is the process around the mail system: it reads a
// configuration directory, builds every part by hand and puts them together,
// listens for the inet services of master.cf, hands connections to the SMTP
// servers, runs the queue manager, reloads on SIGHUP, and drains on SIGTERM.
//
// A reload compiles the whole new configuration before anything changes, and
// swaps it in one step; with an error in it everything stays as it was.
// Sessions under way end with the configuration they began with.
//
// It knows no SMTP and decides nothing about mail. Daemons of Postfix that need
// no process here (cleanup, qmgr, trivial-rewrite, ...) are parts of this one;
// master.cf gives them their -o options. master(8), master(5).
package master
