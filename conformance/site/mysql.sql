CREATE DATABASE postfix CHARACTER SET latin1 COLLATE latin1_general_ci;
CREATE USER postfix@localhost IDENTIFIED BY 'secret';
GRANT SELECT ON postfix.* TO postfix@localhost;
USE postfix;
CREATE TABLE domain (domain varchar(255) PRIMARY KEY, description varchar(255), transport varchar(255), active tinyint(1));
CREATE TABLE alias_domain (alias_domain varchar(255) PRIMARY KEY, target_domain varchar(255), active tinyint(1));
CREATE TABLE alias (address varchar(255) PRIMARY KEY, goto text, domain varchar(255), active tinyint(1));
CREATE TABLE mailbox (username varchar(255) PRIMARY KEY, password varchar(255), name varchar(255), maildir varchar(255),
  local_part varchar(255), domain varchar(255), active tinyint(1));
