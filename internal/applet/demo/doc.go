// Package demo is "sekisho demo", which "make run" calls: it makes a complete
// small site in a folder, with domains, accounts, a certificate and a name
// server of its own, serves it, and prints what to try. It needs no network and
// no privileges.
//
// What is in the folder already is kept, so that a second run finds mail and
// changes where the first left them. The server is package master's; nothing
// here is known to it.
package demo
