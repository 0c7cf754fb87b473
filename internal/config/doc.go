// Package config reads main.cf and master.cf as Postfix reads them and keeps
// the place of every value, so that whoever finds fault with one can say where
// it stands. It knows the names, types and defaults of all parameters
// (parameters.tsv) but not what they do; it opens no table and resolves no
// name. postconf(5), master(5).
package config
