/*
 * no_messages.c
 *	  Message catalogs that are never opened, for a server that is preloaded with
 *	  a sanitizer: the one of gcc 12 leaves glibc's lock of catalogs taken, and
 *	  the server would wait for it for ever.
 */
char	   *bindtextdomain(const char *domain, const char *folder);
char	   *textdomain(const char *domain);
char	   *gettext(const char *message);
char	   *dgettext(const char *domain, const char *message);
char	   *dcgettext(const char *domain, const char *message, int category);
char	   *dngettext(const char *domain, const char *one, const char *many, unsigned long n);

char *
bindtextdomain(const char *domain, const char *folder)
{
	return (char *) folder;
}

char *
textdomain(const char *domain)
{
	return (char *) domain;
}

char *
gettext(const char *message)
{
	return (char *) message;
}

char *
dgettext(const char *domain, const char *message)
{
	return (char *) message;
}

char *
dcgettext(const char *domain, const char *message, int category)
{
	return (char *) message;
}

char *
dngettext(const char *domain, const char *one, const char *many, unsigned long n)
{
	return (char *) (n == 1 ? one : many);
}
