package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"strings"
	"unicode/utf8"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
)

// hostFailed tells whether an error is one of the host or of the way to it, so
// that another host may do better.
func hostFailed(err error) bool {
	var refused *ConnectError
	var my *mysql.MySQLError
	var pg *pgconn.PgError
	var network net.Error
	switch {
	case err == nil:
		return false
	case errors.As(err, &refused):
		return true
	case errors.As(err, &my):
		return mysqlHostErrors[my.Number]
	case errors.As(err, &pg):
		return pgsqlHostError(pg.Code)
	case errors.As(err, &network):
		return true
	}
	for _, target := range []error{
		driver.ErrBadConn, mysql.ErrInvalidConn, mysql.ErrMalformPkt, mysql.ErrPktSync,
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, context.DeadlineExceeded,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	return pgconn.SafeToRetry(err) || strings.Contains(err.Error(), "conn closed")
}

// mysqlHostErrors are MySQL's errors that say the server is going, full, or has
// ended the connection.
var mysqlHostErrors = map[uint16]bool{
	1040: true, // ER_CON_COUNT_ERROR
	1041: true, // ER_OUT_OF_RESOURCES
	1047: true, // ER_UNKNOWN_COM_ERROR: a Galera node that has lost its group
	1053: true, // ER_SERVER_SHUTDOWN
	1077: true, // ER_NORMAL_SHUTDOWN
	1079: true, // ER_SHUTDOWN_COMPLETE
	1203: true, // ER_TOO_MANY_USER_CONNECTIONS
	1927: true, // ER_CONNECTION_KILLED
	3168: true, // ER_SERVER_ISNT_AVAILABLE
	4031: true, // ER_CLIENT_INTERACTION_TIMEOUT
}

// pgsqlHostError is the same for PostgreSQL: connection exceptions, too many
// connections, a server that stops or starts.
func pgsqlHostError(code string) bool {
	return strings.HasPrefix(code, "08") || strings.HasPrefix(code, "57P0") || code == "53300"
}

// full tells whether a host refused another connection: those that there are
// go on to serve.
func full(err error) bool {
	var my *mysql.MySQLError
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &my):
		return my.Number == 1040 || my.Number == 1203 || my.Number == 1226
	case errors.As(err, &pg):
		return pg.Code == "53300"
	}
	return false
}

// stale tells whether a connection remembers a statement as it was before the
// tables changed.
func stale(err error) bool {
	var my *mysql.MySQLError
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &my):
		return my.Number == 1243 || my.Number == 1615 // unknown statement; prepare again
	case errors.As(err, &pg):
		return pg.Code == "26000" || pg.Code == "0A000" && strings.Contains(pg.Message, "cached plan")
	}
	return false
}

// Unrepresentable tells whether a server refused a statement because value, a
// parameter of it, cannot be written in the character set of the column it is
// compared with, or in any: no row can hold that value. A plain ASCII value is
// never the reason.
func Unrepresentable(err error, value string) bool {
	var my *mysql.MySQLError
	var pg *pgconn.PgError
	switch {
	case !strings.ContainsFunc(value, func(r rune) bool { return r == 0 || r >= utf8.RuneSelf }):
		return false
	case errors.As(err, &my):
		// ER_CANT_AGGREGATE_2COLLATIONS and its kin, ER_INVALID_CHARACTER_STRING,
		// ER_CANNOT_CONVERT_STRING.
		return my.Number >= 1267 && my.Number <= 1271 && my.Number != 1268 || my.Number == 1300 || my.Number == 3854
	case errors.As(err, &pg):
		return pg.Code == "22021" || pg.Code == "22P05"
	}
	return false
}

// Duplicate tells whether a row was refused because its key exists.
func Duplicate(err error) bool {
	var my *mysql.MySQLError
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &my):
		return my.Number == 1062
	case errors.As(err, &pg):
		return pg.Code == "23505"
	}
	return false
}

// Untyped tells whether PostgreSQL could not find out the type of a parameter:
// the statement needs a cast.
func Untyped(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "42P18" || pg.Code == "42P08")
}
