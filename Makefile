# make install DESTDIR=… PREFIX=… : the one list of what is installed where; ./dev is for everything else.
PREFIX ?= /usr
DESTDIR ?=
PYTHON ?= /usr/bin/python3
# no: the package manager compiles the modules on the target
COMPILE ?= yes

share = $(DESTDIR)$(PREFIX)/share/guestlink
libexec = $(DESTDIR)$(PREFIX)/lib/guestlink
bin = $(DESTDIR)$(PREFIX)/bin
systemd = $(DESTDIR)$(PREFIX)/lib/systemd
units = $(systemd)/user
# The original units' names, for a host that asks by them; not where the originals have their files.
aliases = $(DESTDIR)$(PREFIX)/share/systemd/user
applications = $(DESTDIR)$(PREFIX)/share/applications
man1 = $(DESTDIR)$(PREFIX)/share/man/man1

.PHONY: install
install:
	install -d $(share) $(libexec) $(bin) $(units) $(applications) $(man1)
	cp -r lib/guestlink guest/garcon guest/sommelier_shim host/guestlink_host $(share)/
	rm -r $(share)/sommelier_shim/protocols $(share)/garcon/data
	find $(share) -name __pycache__ -prune -exec rm -r {} +
	[ $(COMPILE) = no ] || $(PYTHON) -m compileall -q -s $(DESTDIR) $(share)
	packaging/launcher $(PREFIX) garcon.__main__ > $(libexec)/garcon
	packaging/launcher $(PREFIX) sommelier_shim.__main__ > $(libexec)/sommelier
	packaging/launcher $(PREFIX) sommelier_shim.unit > $(libexec)/sommelier-unit
	packaging/launcher $(PREFIX) garcon.client.people > $(bin)/guestlink
	packaging/launcher $(PREFIX) guestlink_host.__main__ > $(bin)/guestlink-host
	packaging/launcher $(PREFIX) guestlink_host.vsh.__main__ > $(bin)/vsh
	install guest/garcon/data/garcon-url-handler guest/garcon/data/garcon-terminal-handler $(bin)/
	chmod 755 $(libexec)/garcon $(libexec)/sommelier $(libexec)/sommelier-unit $(bin)/guestlink $(bin)/guestlink-host $(bin)/vsh
	install -d $(units)/guestlink-sommelier@1.service.d $(units)/guestlink-sommelier-x@1.service.d
	install -m 644 guest/systemd-units/guestlink-sommelier@1.service.d/*.conf $(units)/guestlink-sommelier@1.service.d/
	install -m 644 guest/systemd-units/guestlink-sommelier-x@1.service.d/*.conf $(units)/guestlink-sommelier-x@1.service.d/
	install -d $(systemd)/user-preset $(systemd)/user-environment-generators $(aliases)
	install -m 644 guest/systemd-units/presets/*.preset $(systemd)/user-preset/
	install guest/systemd-units/environment-generators/* $(systemd)/user-environment-generators/
	ln -sf ../../../lib/systemd/user/guestlink-garcon.service $(aliases)/cros-garcon.service
	ln -sf ../../../lib/systemd/user/guestlink-sommelier@.service $(aliases)/sommelier@.service
	ln -sf ../../../lib/systemd/user/guestlink-sommelier-x@.service $(aliases)/sommelier-x@.service
	install -m 644 guest/systemd-units/*.service host/systemd-units/*.service $(units)/
	install -m 644 guest/garcon/data/garcon_host_browser.desktop $(applications)/
	install -m 644 docs/man/*.1 $(man1)/
	ln -sf garcon.1 $(man1)/garcon-url-handler.1
	ln -sf garcon.1 $(man1)/garcon-terminal-handler.1
