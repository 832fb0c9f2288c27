/* Sizes, offsets and numbers of the interface; included by a C and a C++ file, behind the header.
 */
#include <stddef.h>

#define SIZE(type, size) LAYOUT_ASSERT(sizeof(type) == (size))
#define AT(type, field, offset) LAYOUT_ASSERT(offsetof(type, field) == (offset))

SIZE(mpool_err_t, 8);
SIZE(uuid_le, 16);

SIZE(struct mpool_params, 248);
AT(struct mpool_params, mp_poolid, 0);
AT(struct mpool_params, mp_uid, 16);
AT(struct mpool_params, mp_gid, 20);
AT(struct mpool_params, mp_mode, 24);
AT(struct mpool_params, mp_stat, 28);
AT(struct mpool_params, mp_spare_cap, 29);
AT(struct mpool_params, mp_spare_stg, 30);
AT(struct mpool_params, mp_rsvd0, 31);
AT(struct mpool_params, mp_mdc_captgt, 32);
AT(struct mpool_params, mp_oidv, 40);
AT(struct mpool_params, mp_ra_pages_max, 56);
AT(struct mpool_params, mp_vma_size_max, 60);
AT(struct mpool_params, mp_mblocksz, 64);
AT(struct mpool_params, mp_mdc0cap, 72);
AT(struct mpool_params, mp_mdcncap, 74);
AT(struct mpool_params, mp_mdcnum, 76);
AT(struct mpool_params, mp_rsvd1, 78);
AT(struct mpool_params, mp_rsvd2, 80);
AT(struct mpool_params, mp_rsvd3, 88);
AT(struct mpool_params, mp_rsvd4, 96);
AT(struct mpool_params, mp_utype, 104);
AT(struct mpool_params, mp_label, 120);
AT(struct mpool_params, mp_name, 184);

SIZE(struct mpool_devprops, 88);
AT(struct mpool_devprops, pdp_devid, 0);
AT(struct mpool_devprops, pdp_mclassp, 16);
AT(struct mpool_devprops, pdp_status, 17);
AT(struct mpool_devprops, pdp_rsvd1, 18);
AT(struct mpool_devprops, pdp_total, 24);
AT(struct mpool_devprops, pdp_avail, 32);
AT(struct mpool_devprops, pdp_spare, 40);
AT(struct mpool_devprops, pdp_fspare, 48);
AT(struct mpool_devprops, pdp_usable, 56);
AT(struct mpool_devprops, pdp_fusable, 64);
AT(struct mpool_devprops, pdp_used, 72);
AT(struct mpool_devprops, pdp_rsvd2, 80);

SIZE(struct mpool_usage, 96);
AT(struct mpool_usage, mpu_total, 0);
AT(struct mpool_usage, mpu_usable, 8);
AT(struct mpool_usage, mpu_fusable, 16);
AT(struct mpool_usage, mpu_used, 24);
AT(struct mpool_usage, mpu_spare, 32);
AT(struct mpool_usage, mpu_fspare, 40);
AT(struct mpool_usage, mpu_alen, 48);
AT(struct mpool_usage, mpu_wlen, 56);
AT(struct mpool_usage, mpu_mblock_alen, 64);
AT(struct mpool_usage, mpu_mblock_wlen, 72);
AT(struct mpool_usage, mpu_mlog_alen, 80);
AT(struct mpool_usage, mpu_mblock_cnt, 88);
AT(struct mpool_usage, mpu_mlog_cnt, 92);

SIZE(struct mpool_mclass_xprops, 128);
AT(struct mpool_mclass_xprops, mc_devtype, 0);
AT(struct mpool_mclass_xprops, mc_mclass, 1);
AT(struct mpool_mclass_xprops, mc_sectorsz, 2);
AT(struct mpool_mclass_xprops, mc_spare, 4);
AT(struct mpool_mclass_xprops, mc_uacnt, 8);
AT(struct mpool_mclass_xprops, mc_zonepg, 12);
AT(struct mpool_mclass_xprops, mc_features, 16);
AT(struct mpool_mclass_xprops, mc_usage, 32);

SIZE(struct mpool_mclass_props, 48);
AT(struct mpool_mclass_props, mc_mblocksz, 0);
AT(struct mpool_mclass_props, mc_rsvd, 4);
AT(struct mpool_mclass_props, mc_total, 8);
AT(struct mpool_mclass_props, mc_usable, 16);
AT(struct mpool_mclass_props, mc_used, 24);
AT(struct mpool_mclass_props, mc_spare, 32);
AT(struct mpool_mclass_props, mc_spare_used, 40);

SIZE(struct mpool_xprops, 328);
AT(struct mpool_xprops, ppx_params, 0);
AT(struct mpool_xprops, ppx_rsvd, 248);
AT(struct mpool_xprops, ppx_drive_spares, 250);
AT(struct mpool_xprops, ppx_uacnt, 252);
AT(struct mpool_xprops, ppx_pd_mclassv, 256);
AT(struct mpool_xprops, ppx_pd_namev, 264);

SIZE(struct mblock_props, 40);
AT(struct mblock_props, mpr_objid, 0);
AT(struct mblock_props, mpr_alloc_cap, 8);
AT(struct mblock_props, mpr_write_len, 12);
AT(struct mblock_props, mpr_optimal_wrsz, 16);
AT(struct mblock_props, mpr_mclassp, 20);
AT(struct mblock_props, mpr_iscommitted, 24);
AT(struct mblock_props, mpr_rsvd1, 25);
AT(struct mblock_props, mpr_rsvd2, 32);
SIZE(struct mblock_props_ex, 56);
AT(struct mblock_props_ex, mbx_zonecnt, 40);
AT(struct mblock_props_ex, mbx_rsvd2, 48);

SIZE(struct mlog_capacity, 16);
AT(struct mlog_capacity, lcp_captgt, 0);
AT(struct mlog_capacity, lcp_spare, 8);
SIZE(struct mlog_props, 56);
AT(struct mlog_props, lpr_uuid, 0);
AT(struct mlog_props, lpr_objid, 16);
AT(struct mlog_props, lpr_alloc_cap, 24);
AT(struct mlog_props, lpr_gen, 32);
AT(struct mlog_props, lpr_mclassp, 40);
AT(struct mlog_props, lpr_iscommitted, 41);
AT(struct mlog_props, lpr_rsvd2, 48);
SIZE(struct mlog_props_ex, 80);
AT(struct mlog_props_ex, lpx_totsec, 56);
AT(struct mlog_props_ex, lpx_zonecnt, 60);
AT(struct mlog_props_ex, lpx_state, 64);
AT(struct mlog_props_ex, lpx_secshift, 65);
AT(struct mlog_props_ex, lpx_rsvd2, 72);

SIZE(struct mdc_capacity, 16);
AT(struct mdc_capacity, mdt_captgt, 0);
AT(struct mdc_capacity, mdt_spare, 8);
SIZE(struct mdc_props, 32);
AT(struct mdc_props, mdc_objid1, 0);
AT(struct mdc_props, mdc_objid2, 8);
AT(struct mdc_props, mdc_alloc_cap, 16);
AT(struct mdc_props, mdc_mclassp, 24);

SIZE(struct pd_znparam, 16);
SIZE(struct pd_prop, 128);
AT(struct pd_prop, pdp_didstr, 0);
AT(struct pd_prop, pdp_devtype, 64);
AT(struct pd_prop, pdp_devstate, 65);
AT(struct pd_prop, pdp_phys_if, 66);
AT(struct pd_prop, pdp_mclassp, 67);
AT(struct pd_prop, pdp_fua, 68);
AT(struct pd_prop, pdp_cmdopt, 72);
AT(struct pd_prop, pdp_zparam, 80);
AT(struct pd_prop, pdp_discard_granularity, 96);
AT(struct pd_prop, pdp_sectorsz, 100);
AT(struct pd_prop, pdp_optiosz, 104);
AT(struct pd_prop, pdp_devsz, 112);

SIZE(struct mpool_devrpt, 128);
AT(struct mpool_devrpt, mdr_rcode, 0);
AT(struct mpool_devrpt, mdr_off, 4);
AT(struct mpool_devrpt, mdr_msg, 8);

LAYOUT_ASSERT(MPOOL_NAMESZ_MAX == 32 && MPOOL_LABELSZ_MAX == 64 && PD_NAMESZ_MAX == 32);
LAYOUT_ASSERT(PD_DEV_ID_LEN == 64 && MPOOL_DEVRPT_SZ == 120);
LAYOUT_ASSERT(MPOOL_RA_PAGES_INVALID == 0xffffffffu && MPOOL_RA_PAGES_MAX == 32);
LAYOUT_ASSERT(MPOOL_SPARES_INVALID == 255 && MPOOL_SPARES_DEFAULT == 5);
LAYOUT_ASSERT(MPOOL_ROOT_LOG_CAP == 8388608 && MPOOL_MBSIZE_MB_DEFAULT == 32);
LAYOUT_ASSERT(MPOOL_MDCNUM_DEFAULT == 16);
LAYOUT_ASSERT(MP_FLAGS_FORCE == 0 && MP_FLAGS_PERMIT_META_CONV == 1 && MP_FLAGS_RESIZE == 2);
LAYOUT_ASSERT(MP_MED_STAGING == 0 && MP_MED_CAPACITY == 1 && MP_MED_BASE == MP_MED_STAGING);
LAYOUT_ASSERT(MP_MED_NUMBER == 2 && MP_MED_INVALID == 255);
LAYOUT_ASSERT(MPOOL_MCLASS_INVALID == 255 && (int)MPOOL_MCLASS_DEFAULT == (int)MP_MED_CAPACITY);
LAYOUT_ASSERT(MLOG_OF_COMPACT_SEM == 1 && MLOG_OF_SKIP_SER == 2 && MDC_OF_SKIP_SER == 1);
LAYOUT_ASSERT(MPC_VMA_COLD == 0 && MPC_VMA_WARM == 1 && MPC_VMA_HOT == 2 && MPC_VMA_PINNED == 3);
LAYOUT_ASSERT(MPOOL_RC_NONE == 0 && MPOOL_RC_ERRMSG == 1 && MPOOL_RC_OPEN == 2);
LAYOUT_ASSERT(MPOOL_RC_PARM == 3 && MPOOL_RC_MAGIC == 4 && MPOOL_RC_STAT == 5);
LAYOUT_ASSERT(MPOOL_RC_ENOMEM == 6 && MPCTL_RC_DEVRW == 1001 && MPCTL_RC_NOTACTIVATED == 1002);
LAYOUT_ASSERT(MPCTL_RC_DEVACTIVATED == 1003 && MPCTL_RC_MP_NODEV == 1004);
LAYOUT_ASSERT(MPCTL_RC_INVALDEV == 1005 && MPCTL_RC_MPEXIST == 1006 && MPCTL_RC_ENTNAM_INV == 1007);

/* Names that programs define themselves. */
#if defined(__aligned) || defined(PAGE_SIZE) || defined(min) || defined(max) || defined(U8_MAX)
#error "the header defines a macro that is not its own"
#endif

/* What programs rely on to be declared. */
static inline size_t layout_declared(struct iovec* iov, uuid_t uuid) {
  return roundup(iov->iov_len, 8) + (size_t)uuid_is_null(uuid);
}
